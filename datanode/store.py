"""The volume store: blobs by id in append-only volumes of ~1 GiB, several active at once so that their syncs overlap."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from awscrt.checksums import crc32c

from datanode import layout
from datanode.index import BlobIndex, Place
from datanode.volume import Volume
from topics.disk import Disk

VOLUME_BYTES = 1 << 30
ACTIVE_VOLUMES = 4
READ_INLINE_BYTES_MAX = 256 << 10  # below this a hand-over to a thread costs more than the read
_FOLDER = "volumes"


class BlobMissing(Exception):
    """No such blob on this node."""


class BlobExists(Exception):
    """The blob is here already, and blobs never change."""


class NewBlob(NamedTuple):
    group: int
    blob: bytes
    partition: int
    data: bytes


class Held(NamedTuple):
    blob: bytes
    length: int
    partition: int


class Usage(NamedTuple):
    volumes: int
    live_bytes: int
    garbage_bytes: int
    free_bytes: int


def _k(group: int, blob: bytes) -> bytes:
    return group.to_bytes(2, "big") + blob


class VolumeStore:
    is_read_only = False
    lost: dict[int, int] = {}

    def usage(self) -> Usage:
        return Usage(len(self._volumes), 0, 0, 0)

    def position(self, group: int) -> int | None:
        return self._index.position(group)

    def is_arriving(self, group: int, blob: bytes) -> bool:
        return False

    def groups(self) -> set[int]:
        return {int.from_bytes(key[:2], "big") for key, _ in self._index.blobs()}

    async def drop_group(self, group: int) -> None:
        self.release(group, [each.blob for each in self.blobs(group, limit=10**9)])
        self._index.put_positions({group: None})

    def blobs(self, group: int, after: bytes = b"", limit: int = 1000) -> list[Held]:
        found: list[Held] = []
        start = _k(group, after + b"\0" if after else b"")
        for key, place in self._index.blobs(start):
            if key[:2] != group.to_bytes(2, "big") or len(found) == limit:
                break
            found.append(Held(key[2:], place.length, place.partition))
        return found

    def find(self, group: int, blob: bytes) -> Place | None:
        return self._index.find(_k(group, blob))

    def __init__(self, disk: Disk, index: BlobIndex, *, volume_bytes: int = VOLUME_BYTES) -> None:
        self._disk = disk
        self._index = index
        self._volume_bytes = volume_bytes
        self._volumes: dict[int, Volume] = {}
        self._active: list[int] = []
        self._turn = 0
        self.unsettled_bytes = 0  # behind the synced positions: what a start would have to read again
        self._recover()

    def put_all(self, blobs: Sequence[NewBlob]) -> None:
        """Small payloads, not yet synced. A blob that is here whole is left as it is."""
        fresh = {each: each.data for each in blobs if not self._has_whole(each)}
        if not fresh:
            return
        records = [layout.record(each.blob, data, each.group, each.partition) for each, data in fresh.items()]
        volume = self._next_volume(sum(map(len, records)))
        at = volume.append(b"".join(records))
        places: dict[bytes, Place | None] = {}
        for (each, data), record in zip(fresh.items(), records, strict=True):
            places[_k(each.group, each.blob)] = Place(volume.number, at, len(data), each.partition)
            at += len(record)
        self._index.put(places)

    def create(self, group: int, blob: bytes, partition: int, length: int, *, replace: bool = False) -> "BlobWriter":
        """Raises `BlobExists`."""
        if self.has(group, blob) and not replace:
            raise BlobExists(f"blob {blob.hex()} is here already")
        volume = self._next_volume(layout.record_bytes(length))
        return BlobWriter(volume, self._index, blob, length, group, partition)

    async def read(self, group: int, blob: bytes, start: int, size: int) -> bytes:
        """Verified bytes of a blob. Raises `BlobMissing`, `BlobCorrupt`, or `ValueError` for bytes outside of it."""
        place = self.find(group, blob)
        volume = self._volumes.get(place.volume) if place else None
        if place is None or volume is None:
            raise BlobMissing(f"blob {blob.hex()} is not on this node")
        if start < 0 or size < 0 or start + size > place.length:
            raise ValueError(f"blob {blob.hex()} has {place.length} bytes, not {start + size}")
        if size <= READ_INLINE_BYTES_MAX:
            return volume.read(blob, place.offset, place.length, start, size)
        return await asyncio.to_thread(volume.read, blob, place.offset, place.length, start, size)

    def has(self, group: int, blob: bytes) -> bool:
        return self.find(group, blob) is not None

    def release(self, group: int, blobs: Sequence[bytes]) -> None:
        """Forget blobs and give their space back; unknown ones are passed over."""
        places = {_k(group, blob): place for blob in blobs if (place := self.find(group, blob)) is not None}
        for place in places.values():
            self._volumes[place.volume].release(place.offset, place.length)
        if places:
            self._index.put(dict.fromkeys(places))

    async def sync(self, positions: Mapping[int, int] | None = None) -> None:
        """All that was put and released before the call is durable on return."""
        settled = {number: self._volumes[number].settled_below for number in self._volumes}
        self.unsettled_bytes = 0
        for volume in list(self._volumes.values()):
            await volume.sync()
        self._index.put_synced(settled)
        self._index.put_positions(positions or {})
        self._index.sync()

    def close(self) -> None:
        for volume in self._volumes.values():
            volume.close()
        self._index.close()

    def _has_whole(self, new: NewBlob) -> bool:
        blob, length = new.blob, len(new.data)
        place = self.find(new.group, blob)
        if place is None or place.length != length or place.volume not in self._volumes:
            return False
        try:
            self._volumes[place.volume].read(blob, place.offset, length, 0, length)
        except layout.BlobCorrupt:
            return False
        return True

    def _next_volume(self, adding: int) -> Volume:
        self.unsettled_bytes += adding
        self._turn = (self._turn + 1) % ACTIVE_VOLUMES
        if len(self._active) <= self._turn:
            self._active.append(self._new_volume())
            self._turn = len(self._active) - 1
        volume = self._volumes[self._active[self._turn]]
        if volume.end and volume.end + adding > self._volume_bytes:
            self._active[self._turn] = self._new_volume()
            volume = self._volumes[self._active[self._turn]]
        return volume

    def _new_volume(self) -> int:
        number = max(self._volumes, default=-1) + 1
        self._volumes[number] = Volume(number, self._disk.open(_path(number)), 0)
        self._disk.sync_folder(_FOLDER)
        return number

    def _recover(self) -> None:
        """Index what lies behind each volume's synced position; an empty index is built anew from all volumes."""
        names = self._disk.names(_FOLDER)
        if names:
            self._disk.sync_folder(_FOLDER)  # a killed process may not have got to it
        for name in names:
            number = int(name.removesuffix(".vol"))
            volume = self._volumes[number] = Volume(number, self._disk.open(_path(number)), 0)
            places: dict[bytes, Place | None] = {}
            for state, at, blob, length, group, partition in volume.scan(self._index.synced_below(number)):
                places[_k(group, blob)] = Place(number, at, length, partition) if state == layout.LIVE else None
                self.unsettled_bytes += length
            self._index.put({blob: place for blob, place in places.items() if place is not None})
            if volume.end < self._volume_bytes and len(self._active) < ACTIVE_VOLUMES:
                self._active.append(number)


class BlobWriter:
    """A blob that arrives in pieces; nobody can read it before `commit` returned."""

    def __init__(self, volume: Volume, index: BlobIndex, blob: bytes, length: int, group: int, partition: int) -> None:
        self._group, self._partition = group, partition
        self._volume = volume
        self._index = index
        self._blob = blob
        self._length = length
        self._region = volume.reserve(blob, length, group, partition)
        self._pending = bytearray()
        self._crcs: list[int] = []
        self._position = 0
        self.crc32c = 0

    async def write(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) >= READ_INLINE_BYTES_MAX:
            whole = len(self._pending) // layout.BLOCK_BYTES * layout.BLOCK_BYTES
            await self._flush(whole)

    async def commit(self) -> None:
        """Durable and readable on return. Raises `ValueError` where the length is not what was announced."""
        await self._flush(len(self._pending))
        if self._position != self._length:
            raise ValueError(f"{self._position} bytes of {self._length} arrived")
        await self._volume.finish(self._region, self._length, layout.footer(self._blob, self._crcs))
        self._index.put(
            {_k(self._group, self._blob): Place(self._volume.number, self._region, self._length, self._partition)}
        )

    async def abort(self) -> None:
        """Give the space back."""
        self._volume.abandon(self._region, self._length)

    async def _flush(self, size: int) -> None:
        data, self._pending = bytes(self._pending[:size]), self._pending[size:]
        if self._position + size > self._length:
            raise ValueError("more bytes than announced")
        position, self._position = self._position, self._position + size
        await asyncio.to_thread(self._write_out, data, position)

    def _write_out(self, data: bytes, position: int) -> None:
        self._crcs += layout.block_crcs(memoryview(data))
        self.crc32c = crc32c(data, self.crc32c)
        self._volume.write_payload(data, self._region, position)


def _path(number: int) -> str:
    return f"{_FOLDER}/{number:08}.vol"
