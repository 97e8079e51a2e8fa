"""The volume store: blobs by id in append-only volumes of ~1 GiB, several active at once so that their syncs overlap."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

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


class VolumeStore:
    def __init__(self, disk: Disk, index: BlobIndex, *, volume_bytes: int = VOLUME_BYTES) -> None:
        self._disk = disk
        self._index = index
        self._volume_bytes = volume_bytes
        self._volumes: dict[int, Volume] = {}
        self._active: list[int] = []
        self._turn = 0
        self.unsettled_bytes = 0  # behind the synced positions: what a start would have to read again
        self._recover()

    def put_all(self, payloads: Mapping[bytes, bytes]) -> None:
        """Small payloads, not yet synced. A blob that is here whole is left as it is."""
        fresh = {blob: data for blob, data in payloads.items() if not self._has_whole(blob, len(data))}
        if not fresh:
            return
        records = [layout.record(blob, data) for blob, data in fresh.items()]
        volume = self._next_volume(sum(map(len, records)))
        at = volume.append(b"".join(records))
        places: dict[bytes, Place | None] = {}
        for (blob, data), record in zip(fresh.items(), records, strict=True):
            places[blob] = Place(volume.number, at, len(data))
            at += len(record)
        self._index.put(places)

    def create(self, blob: bytes, length: int) -> "BlobWriter":
        """Raises `BlobExists`."""
        if self.has(blob):
            raise BlobExists(f"blob {blob.hex()} is here already")
        volume = self._next_volume(layout.record_bytes(length))
        return BlobWriter(volume, self._index, blob, length)

    async def read(self, blob: bytes, start: int, size: int) -> bytes:
        """Verified bytes of a blob. Raises `BlobMissing`, `BlobCorrupt`, or `ValueError` for bytes outside of it."""
        place = self._index.find(blob)
        volume = self._volumes.get(place.volume) if place else None
        if place is None or volume is None:
            raise BlobMissing(f"blob {blob.hex()} is not on this node")
        if start < 0 or size < 0 or start + size > place.length:
            raise ValueError(f"blob {blob.hex()} has {place.length} bytes, not {start + size}")
        if size <= READ_INLINE_BYTES_MAX:
            return volume.read(blob, place.offset, place.length, start, size)
        return await asyncio.to_thread(volume.read, blob, place.offset, place.length, start, size)

    def has(self, blob: bytes) -> bool:
        return self._index.find(blob) is not None

    def blobs(self) -> Iterable[bytes]:
        return (blob for blob, _ in self._index.blobs())

    def release(self, blobs: Sequence[bytes]) -> None:
        """Forget blobs and give their space back; unknown ones are passed over."""
        places = {blob: place for blob in blobs if (place := self._index.find(blob)) is not None}
        for place in places.values():
            self._volumes[place.volume].release(place.offset, place.length)
        if places:
            self._index.put(dict.fromkeys(places))

    async def sync(self) -> None:
        """All that was put and released before the call is durable on return."""
        settled = {number: self._volumes[number].settled_below for number in self._volumes}
        self.unsettled_bytes = 0
        for volume in list(self._volumes.values()):
            await volume.sync()
        self._index.put_synced(settled)
        self._index.sync()

    def close(self) -> None:
        for volume in self._volumes.values():
            volume.close()
        self._index.close()

    def _has_whole(self, blob: bytes, length: int) -> bool:
        place = self._index.find(blob)
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
            for state, at, blob, length in volume.scan(self._index.synced_below(number)):
                places[blob] = Place(number, at, length) if state == layout.LIVE else None
                self.unsettled_bytes += length
            self._index.put({blob: place for blob, place in places.items() if place is not None})
            if volume.end < self._volume_bytes and len(self._active) < ACTIVE_VOLUMES:
                self._active.append(number)


class BlobWriter:
    """A blob that arrives in pieces; nobody can read it before `commit` returned."""

    def __init__(self, volume: Volume, index: BlobIndex, blob: bytes, length: int) -> None:
        self._volume = volume
        self._index = index
        self._blob = blob
        self._length = length
        self._region = volume.reserve(blob, length)
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
        self._index.put({self._blob: Place(self._volume.number, self._region, self._length)})

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
