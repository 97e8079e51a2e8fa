"""The volume store: the blobs of a node's groups, by group and id, in append-only volumes.

Rules: a blob never changes; it is durable when its writer's `commit` returned, or with the next `sync` after `put_all`.
What `read` returns was verified. Nothing here gives the loop back between what it finds in the index and what it does by
it, except reads in threads, which look again. What is in memory is read at once; what the disk has to be asked for, in a
thread of that disk, so that one that is slow or hangs holds no other and not the loop.
Errors: `BlobMissing`, `BlobExists`, `BlobCorrupt`; `DiskFull` for writes while the store is read-only, other `OSError`s as
the disk gives them.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from datanode import layout
from datanode.index import BlobIndex, Change, Entry, Place
from datanode.recovery import recover
from datanode.space import DiskFull, Space
from datanode.volume import SYNC_S_MAX, Volume, VolumeRetired
from datanode.volumes import ACTIVE_VOLUMES, VOLUME_BYTES, Volumes
from datanode.writer import RecordWriter
from topics.disk import Disk

__all__ = ["ACTIVE_VOLUMES", "VOLUME_BYTES", "BlobExists", "BlobMissing", "BlobWriter", "DiskFull", "VolumeStore"]
READ_INLINE_BYTES_MAX = 1 << 20  # below this a hand-over to a thread costs more than the read, if that is of memory
PAGE_BLOBS = 1_000
LATE_LOOK_S = 0.05
DROPPED_AT_ONCE = 200  # blobs: ~2 ms of the loop
T = TypeVar("T")
log_ = logging.getLogger(__name__)


class BlobMissing(Exception):
    """No such blob on this node."""


class BlobExists(Exception):
    """The blob is here already, or on its way, and blobs never change."""


class NewBlob(NamedTuple):
    group: int
    blob: bytes
    partition: int
    data: bytes


class Held(NamedTuple):
    blob: bytes
    length: int
    partition: int
    crc32c: int | None = None  # of the payload, as its checksums tell, where it was asked for and they are sound


class Compared(NamedTuple):
    place: Place
    is_whole: bool


class Usage(NamedTuple):
    volumes: int
    live_bytes: int
    garbage_bytes: int  # that still take room on the disk
    free_bytes: int


class VolumeStore:
    """`disk`, `index`, `volumes` and `space` are for the other parts of a node."""

    def __init__(
        self, disk: Disk, index: BlobIndex, *, volume_bytes: int = VOLUME_BYTES, reserve_bytes: int | None = None
    ) -> None:
        self.disk = disk
        self.index = index
        self.volumes = Volumes(disk, volume_bytes)
        self.space = Space(disk, reserve_bytes)
        self._arriving: dict[tuple[int, bytes], BlobWriter] = {}
        self._arriving_bytes = 0
        self._dropped = Counter[int]()  # how often each group was, so that a sync under way stores no position of it
        self._releasing: set[asyncio.Task[None]] = set()  # of what is not in memory, or on a disk that is late
        self.lost = recover(self.volumes, index)

    @property
    def is_read_only(self) -> bool:
        return self.space.is_read_only

    @property
    def unsettled_bytes(self) -> int:
        """Behind the synced positions: what a start would have to read again."""
        return self.volumes.unsettled_bytes

    def hung(self) -> str:
        """Which sync does not end, if one does not."""
        hung = [number for number, volume in self.volumes.all.items() if volume.is_hung]
        return f"a sync of volume {hung[0]} has not ended for {SYNC_S_MAX:g} s" if hung else ""

    async def answers(self) -> None:
        """Return when its disk does. To be awaited before what writes here at once, volumes and index: on a disk that hangs
        that would hold the loop."""
        while self.disk.is_late:  # noqa: ASYNC110 - rare, and not worth an event
            await asyncio.sleep(LATE_LOOK_S)

    async def put_all(self, blobs: Sequence[NewBlob]) -> None:
        """Small payloads, not yet synced. A blob that is here whole is left as it is, and one that is released while it is
        compared stays so. Raises `DiskFull`."""
        compared: dict[tuple[int, bytes], Compared] = {}
        await self.answers()
        while True:
            try:
                lacking = self._lacking(blobs, compared)
                break
            except BlockingIOError:
                here = [(new, place) for new in blobs if (place := self.find(new.group, new.blob)) is not None]
                compared |= await self.disk.run(partial(self._compare, here))
        if lacking:
            self._put(lacking)

    def _compare(self, here: Sequence[tuple[NewBlob, Place]]) -> dict[tuple[int, bytes], Compared]:
        return {(new.group, new.blob): Compared(place, self._has_whole(new, place)) for new, place in here}

    def _lacking(
        self, blobs: Sequence[NewBlob], compared: Mapping[tuple[int, bytes], Compared]
    ) -> list[tuple[NewBlob, Place | None]]:
        """Those that are not here whole. Raises `BlockingIOError` where neither `compared` nor what is in memory tells."""
        lacking: dict[tuple[int, bytes], tuple[NewBlob, Place | None]] = {}
        for new in blobs:
            known, place = compared.get((new.group, new.blob)), self.index.find(new.group, new.blob)
            if place is None:
                is_left = known is not None
            elif known is not None and known.place == place:
                is_left = known.is_whole
            else:
                is_left = self._has_whole(new, place, is_cached=True)
            if not is_left:
                lacking[new.group, new.blob] = new, place
        return list(lacking.values())

    def _put(self, lacking: Sequence[tuple[NewBlob, Place | None]]) -> None:
        records = [layout.record(*new) for new, _ in lacking]
        data = b"".join(records)
        self.space.take(len(data))
        with self.space.watched:
            volume = self.volumes.next(len(data))
            at = volume.append(data, {new.group for new, _ in lacking})
        changes = []
        for (new, old), record in zip(lacking, records, strict=True):
            changes.append(Change(new.group, new.blob, old, Place(volume.number, at, len(new.data), new.partition)))
            at += len(record)
        self.index.change(changes)
        self._release_old(changes)

    def create(self, group: int, blob: bytes, partition: int, length: int, *, replace: bool = False) -> "BlobWriter":
        """A blob that is about to arrive; with `replace` it takes the place of one that is here.

        Raises `BlobExists`, also for one that is arriving already, and `DiskFull`.
        """
        if self.is_arriving(group, blob) or (not replace and self.has(group, blob)):
            raise BlobExists(f"blob {blob.hex()} is here already, or on its way")
        self.space.require(layout.record_bytes(length) + self._arriving_bytes)
        writer = BlobWriter(self, group, blob, partition, length)
        self._arriving[group, blob] = writer
        self._arriving_bytes += length
        return writer

    def is_arriving(self, group: int, blob: bytes) -> bool:
        return (group, blob) in self._arriving

    async def read(self, group: int, blob: bytes, start: int, size: int, crc32c: int | None = None) -> bytes:
        """Verified bytes of a blob, which has this crc32c where one is given.

        Raises `BlobMissing`, `BlobCorrupt`, or `ValueError` for bytes outside of it.
        """
        is_cached = size <= READ_INLINE_BYTES_MAX  # perhaps
        while True:
            place = self.index.find(group, blob)
            volume = self.volumes.all.get(place.volume) if place else None
            if place is None or volume is None:
                raise BlobMissing(f"blob {blob.hex()} is not on this node")
            if start < 0 or size < 0 or start + size > place.length:
                raise ValueError(f"blob {blob.hex()} has {place.length} bytes, not {start + size}")
            try:
                if is_cached:
                    return volume.read(blob, place.offset, place.length, start, size, crc32c, is_cached=True)
                return await self.disk.run(partial(_read, volume, blob, place, start, size, crc32c))
            except BlockingIOError:
                is_cached = False
            except (layout.BlobCorrupt, VolumeRetired):
                if self.index.find(group, blob) == place:
                    raise
                # moved or released while it was read: the index tells

    def find(self, group: int, blob: bytes) -> Place | None:
        return self.index.find(group, blob)

    def has(self, group: int, blob: bytes) -> bool:
        return self.index.find(group, blob) is not None

    def may_be_lost(self, group: int, blob: bytes) -> bool:
        """Whether it is in a volume that could not be synced, and no earlier sync is known to cover it."""
        place = self.index.find(group, blob)
        volume = self.volumes.all.get(place.volume) if place else None
        return volume is not None and volume.has_failed and group in volume.doubtful

    def is_of(self, group: int, blob: bytes, length: int, crc32c: int, *, is_cached: bool = False) -> bool:
        """Whether a blob is here with these bytes, as far as its checksums tell. With `is_cached` raises `BlockingIOError`
        where the disk would have to be read."""
        place = self.index.find(group, blob)
        return place is not None and place.length == length and self._crc32c(blob, place, is_cached=is_cached) == crc32c

    def blobs(self, group: int, after: bytes = b"", limit: int = PAGE_BLOBS) -> list[Held]:
        """In the order of their ids, above `after`."""
        page = self.index.page(group, after, limit, group)
        return [Held(blob, place.length, place.partition) for _, blob, place in page]

    async def blobs_checked(self, group: int, after: bytes) -> list[Held]:
        """The same with their checksums."""
        page = self.index.page(group, after, PAGE_BLOBS, group)
        crcs = await self.disk.run(lambda: [self._crc32c(entry.blob, entry.place) for entry in page])
        return [Held(blob, at.length, at.partition, crc) for (_, blob, at), crc in zip(page, crcs, strict=True)]

    def groups(self) -> set[int]:
        """Those that the node holds a blob or a position of."""
        return self.index.groups()

    def release(self, group: int, blobs: Sequence[bytes]) -> None:
        """Forget blobs and give their space back; unknown ones are passed over, arriving ones will not be kept."""
        changes = []
        for blob in dict.fromkeys(blobs):
            if (writer := self._arriving.get((group, blob))) is not None:
                writer.is_released = True
            if (place := self.index.find(group, blob)) is not None:
                changes.append(Change(group, blob, place, None))
        self._release_old(changes)
        if changes:
            self.index.change(changes)

    async def drop_group(self, group: int) -> None:
        """Forget all blobs of a group, arriving ones too, and its position."""
        await self.answers()
        self._dropped[group] += 1
        self.index.forget_position(group)
        self.release(group, [blob for group_, blob in self._arriving if group_ == group])
        while page := self.blobs(group, limit=DROPPED_AT_ONCE):
            self.release(group, [held.blob for held in page])
            await asyncio.sleep(0)
            await self.answers()

    def position(self, group: int) -> int | None:
        """The offset below which the group's partition of `writes` is in synced volumes."""
        return self.index.position(group)

    async def sync(self, positions: Mapping[int, int] | None = None) -> set[int]:
        """All that was put before the call is durable on return, and with it the groups' positions; but not of the groups
        that are returned: of theirs something is in a volume that could not be synced. Raises `OSError` for the index."""
        positions = positions or {}
        await self._released()
        dropped = {group: self._dropped[group] for group in positions}
        settled = {volume: volume.settled for volume in self.volumes.all.values()}
        self.volumes.unsettled_bytes = 0
        unsynced = [volume for volume in settled if not volume.is_synced]
        failed = [volume for volume in await asyncio.gather(*map(self._unsyncable, unsynced)) if volume is not None]
        held_back = set[int]().union(*(volume.doubtful for volume in failed))
        async with asyncio.timeout(SYNC_S_MAX):
            await self.answers()
        news = {v: at for v, at in settled.items() if self._is_open(v) and v.noted != at and v not in failed}
        stored = {g: at for g, at in positions.items() if self._dropped[g] == dropped[g] and g not in held_back}
        holes = {v: v.hole_bytes for v in settled if self._is_open(v) and v.noted_hole_bytes != v.hole_bytes}
        self.index.put_synced(_by_number(news), stored, _by_number(holes))
        async with asyncio.timeout(SYNC_S_MAX):
            await self.disk.run(self.index.sync)
        for volume, at in news.items():
            volume.noted = at
        for volume, size in holes.items():
            volume.noted_hole_bytes = size
        return held_back

    async def _unsyncable(self, volume: Volume) -> Volume | None:
        """Sync it; given back where that fails."""
        if volume.has_failed:
            return volume
        try:
            await volume.sync()
        except VolumeRetired:
            if self._is_open(volume):
                raise  # the store was closed; else compaction has synced what was in the volume
        except OSError as error:
            log_.error("volume %d cannot be synced, groups %s wait: %s", volume.number, sorted(volume.doubtful), error)
            return volume
        return None

    def usage(self) -> Usage:
        volumes = self.volumes.all.values()
        live = sum(self.index.live_bytes(volume.number) for volume in volumes)
        garbage = sum(map(self.garbage_bytes, volumes))
        return Usage(len(volumes), live, garbage, self.space.free_bytes())

    def garbage_bytes(self, volume: Volume) -> int:
        """What is in the file beyond live and arriving records. Counted, not what the file takes from the disk: some file
        systems allocate ahead, and a volume of only live records would be compacted for ever."""
        return max(0, volume.end - volume.hole_bytes - self.index.live_bytes(volume.number) - volume.open_bytes)

    async def remove_volume(self, number: int) -> None:
        """A sealed one in which nothing is indexed; durable on return. Reads under way in threads end well."""
        volume = self.volumes.all.pop(number)  # so that a sync meanwhile notes nothing of it
        try:
            self.index.forget_volume(number)
            await self.disk.run(self.index.sync)  # else a start would miss the file
            await self.disk.run(partial(self.volumes.delete, number))
        except BaseException:
            self.volumes.all[number] = volume
            raise
        volume.close()

    async def damaged(self, entries: Sequence[Entry]) -> list[Entry]:
        """Of these, those whose records are not whole, header included; not what was moved or released meanwhile."""
        found = await self.disk.run(partial(self._damaged, entries))
        return [entry for entry in found if self.index.find(entry.group, entry.blob) == entry.place]

    def close(self) -> None:
        self.volumes.close()
        self.index.close()

    def commit(self, writer: "BlobWriter", place: Place) -> None:
        """Of a writer whose record is durable. Raises `BlobMissing` where the blob was released while it arrived."""
        if writer.is_released:
            raise BlobMissing(f"blob {writer.blob.hex()} was released while it arrived")
        change = Change(writer.group, writer.blob, self.index.find(writer.group, writer.blob), place)
        self.index.change([change])
        self._release_old([change])

    def arrived(self, writer: "BlobWriter") -> None:
        """Or did not: the writer has ended."""
        if self._arriving.pop((writer.group, writer.blob), None) is not None:
            self._arriving_bytes -= writer.length

    def _has_whole(self, new: NewBlob, place: Place, *, is_cached: bool = False) -> bool:
        if place.length != len(new.data):
            return False
        look = partial(Volume.has_whole, blob=new.blob, region=place.offset, length=place.length, is_cached=is_cached)
        return bool(self._looked_at(place, look))

    def _release_old(self, changes: Sequence[Change]) -> None:
        """A power cut may have taken a record that the index has, and the new one may lie where it was: that stays."""
        self.give_back((old, blob) for _, blob, old, new in changes if old and (new is None or new[:2] != old[:2]))

    def give_back(self, records: Iterable[tuple[Place, bytes]]) -> None:
        """Those of blobs that nobody refers to; later, where they are not in memory or their disk is late."""
        cold = []
        for place, blob in records:
            if (volume := self.volumes.all.get(place.volume)) is None:
                continue
            if self.disk.is_late:
                cold.append((volume, blob, place))
                continue
            try:
                volume.release(place.offset, blob, place.length, is_cached=True)
            except BlockingIOError:
                cold.append((volume, blob, place))
        if cold:
            self._later(self._mark(cold))

    async def _mark(self, released: Sequence[tuple[Volume, bytes, Place]]) -> None:
        for (volume, _, _), size in zip(released, await self.disk.run(partial(_mark_all, released)), strict=True):
            volume.count_mark(size)

    def when_it_answers(self, work: Callable[[], None]) -> None:
        """At once, unless its disk is late: for what gives space back, and whose caller waits for no disk."""
        if self.disk.is_late:
            self._later(self._once_it_answers(work))
        else:
            work()

    async def _once_it_answers(self, work: Callable[[], None]) -> None:
        await self.answers()
        try:
            work()
        except OSError as error:
            log_.warning("space was not given back: %s", error)

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    async def _released(self) -> None:
        """Releases of before are in the volumes: a start behind positions that are past them would bring them back."""
        if self._releasing and (await asyncio.wait(set(self._releasing), timeout=SYNC_S_MAX))[1]:
            raise TimeoutError(f"what was released could not be marked for {SYNC_S_MAX:g} s")

    def _is_open(self, volume: Volume) -> bool:
        return self.volumes.all.get(volume.number) is volume

    def _crc32c(self, blob: bytes, place: Place, *, is_cached: bool = False) -> int | None:
        try:
            return self._looked_at(
                place, lambda volume: volume.crc32c(blob, place.offset, place.length, is_cached=is_cached)
            )
        except layout.BlobCorrupt:
            return None

    def _damaged(self, entries: Sequence[Entry]) -> list[Entry]:
        return [entry for entry in entries if not self._is_sound(entry.blob, entry.place)]

    def _is_sound(self, blob: bytes, place: Place) -> bool:
        return bool(self._looked_at(place, lambda volume: volume.has_live(blob, place.offset, place.length)))

    def _looked_at(self, place: Place, look: Callable[[Volume], T]) -> T | None:
        """What a look into a place's volume finds, perhaps in a thread; None where the volume is gone."""
        volume = self.volumes.all.get(place.volume)
        if volume is None:
            return None
        try:
            with volume.held():
                return look(volume)
        except VolumeRetired:
            return None


class BlobWriter:
    """A blob that arrives in pieces; nobody can read it before `commit` returned. It ends with `commit` or `abort`."""

    def __init__(self, store: VolumeStore, group: int, blob: bytes, partition: int, length: int) -> None:
        self.group = group
        self.blob = blob
        self.length = length
        self.is_released = False
        self._stands = False
        self._store = store
        self._partition = partition
        with store.space.watched:
            self._volume = store.volumes.next(layout.record_bytes(length))
            self._record = RecordWriter(store.disk, self._volume, group, blob, partition, length)

    @property
    def crc32c(self) -> int:
        """Of all bytes, once `commit` returned."""
        return self._record.crc32c

    async def write(self, data: bytes) -> None:
        with self._store.space.watched:
            await self._record.write(data)

    async def commit(self) -> None:
        """Durable and readable on return.

        Raises `ValueError` where the length is not what was announced, `BlobMissing` where the blob was released meanwhile.
        """
        with self._store.space.watched:
            offset = await self._record.commit()
        self._store.commit(self, Place(self._volume.number, offset, self.length, self._partition))
        self._stands = True
        self._store.arrived(self)

    async def abort(self) -> None:
        """Give the space back; also after a failed `write` or `commit`, and of a blob that stands."""
        if self._stands:
            self._store.when_it_answers(partial(self._store.release, self.group, [self.blob]))
            return
        self._store.arrived(self)
        self._store.when_it_answers(self._record.abort)


def _by_number(found: Mapping[Volume, T]) -> dict[int, T]:
    return {volume.number: each for volume, each in found.items()}


def _mark_all(released: Sequence[tuple[Volume, bytes, Place]]) -> list[int | None]:
    sizes: list[int | None] = []
    for volume, blob, place in released:
        try:
            with volume.held():
                sizes.append(volume.mark(place.offset, blob, place.length))
        except VolumeRetired:
            sizes.append(None)
    return sizes


def _read(volume: Volume, blob: bytes, place: Place, start: int, size: int, crc32c: int | None) -> bytes:
    with volume.held():
        return volume.read(blob, place.offset, place.length, start, size, crc32c)
