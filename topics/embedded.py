"""The embedded adapter of `Log`: a journal of segment files with group commit, and an archive for topics that are kept.

Appends gather in memory; one writer task takes all that waits and puts it into the journal with one synced write. What was
appended unsynced leaves in that same write. When the journal has rolled, kept records move into the archive, and segments
in which nothing is needed any more are removed, beside the writes. Records that are not archived are held in memory; the
journal is read only at start. After a failed write the records that somebody waited for are gone and their offsets burned;
those that nobody waited for stay for the next write: their appender was told that they are in the log. A reader may have
seen what is burned, and counted on from there: so the next write says which offsets are not given again.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from topics.archive import Archive
from topics.frame import merged, pack
from topics.journal import CHECKPOINT_TOPIC, SEGMENT_BYTES, Checkpoint, Journal
from topics.log import Entry, LogCorrupt, LogError, Record, check_size
from topics.log_disk import LogDisk
from topics.partition import Partition, Partitions, follow
from topics.seal import sealed, unsealed
from topics.spec import TopicPartition, TopicSpec

MANIFEST = "log.json"
SCRUBBED = "log.scrubbed"
UNSYNCED_BYTES_MAX = 8 << 20  # beyond this an append waits for a sync first
log_ = logging.getLogger(__name__)


class _Manifest(msgspec.Struct):
    identity: str
    topics: list[TopicSpec] = []  # a topic's number in the frames is its place here


class _Pending(NamedTuple):
    """A frame on its way to the journal; `durable` where somebody waits for it."""

    frame: bytes
    partition: Partition
    offset: int
    durable: bool


class EmbeddedLog:
    repeats = False

    def __init__(self, disk: LogDisk, clock_ms: Callable[[], int], manifest: _Manifest, segment_bytes: int) -> None:
        self._clock_ms = clock_ms
        self._disk = disk
        self._manifest = manifest
        self._journal = Journal(disk, segment_bytes)
        self._partitions = Partitions()
        self._archives: dict[TopicPartition, Archive] = {}
        self._numbers: dict[str, int] = {}
        self._segment_ends: dict[int, dict[TopicPartition, int]] = {}  # last offset + 1 that each segment holds
        self._buffer: list[_Pending] = []
        self._buffered_bytes = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._writer: asyncio.Task[None] | None = None
        self._archiving: asyncio.Task[None] | None = None  # once a segment
        self._removing: asyncio.Task[None] | None = None
        self._is_archived = False  # what the sealed segments have
        self._untold = False  # no checkpoint has the archives as they are, or the offsets that were burned
        self._floors: dict[str, int] = {}  # by the last checkpoint: below which nothing is needed in the journal

    @classmethod
    async def open(cls, disk: LogDisk, clock_ms: Callable[[], int], *, segment_bytes: int = SEGMENT_BYTES) -> "EmbeddedLog":
        """What is on the disk. Raises `LogCorrupt`, `OSError`."""
        stored = await disk.load(MANIFEST)
        manifest = _Manifest(uuid.uuid4().hex) if stored is None else _parsed(stored)
        log = cls(disk, clock_ms, manifest, segment_bytes)
        if stored is None:
            await log._save_manifest()
        for spec in manifest.topics:
            log._numbers[spec.name] = len(log._numbers)
            await log._add_partitions(spec, 0)
        await log._recover()
        return log

    @property
    def identity(self) -> str:
        return self._manifest.identity

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        have = {spec.name: number for number, spec in enumerate(self._manifest.topics)}
        for spec in specs:
            if spec.name not in have:
                self._manifest.topics.append(spec)
                self._numbers[spec.name] = len(self._numbers)
                await self._add_partitions(spec, 0)
                continue
            before = self._manifest.topics[have[spec.name]].partitions
            if spec.grows and before < spec.partitions:
                self._manifest.topics[have[spec.name]] = spec
                await self._add_partitions(spec, before)
            elif before != spec.partitions:
                raise LogError(f"topic {spec.name} has {before} partitions, not {spec.partitions}")
        await self._save_manifest()

    async def append(self, at: TopicPartition, entries: Sequence[Entry], *, durable: bool) -> list[int]:
        check_size(entries)
        partition = self._partitions[at]
        if self._buffered_bytes > UNSYNCED_BYTES_MAX:
            await self._synced()
        now_ms, first = self._clock_ms(), partition.next_offset
        records = [Record(first + i, now_ms, entry.key, entry.value) for i, entry in enumerate(entries)]
        for record in records:
            frame = pack(self._numbers[at.topic], at.partition, record)
            self._buffer.append(_Pending(frame, partition, record.offset, durable))
            self._buffered_bytes += len(frame)
        if records:
            partition.add(records)
        if durable and (self._buffer or self._is_writing or self._untold):
            await self._synced()
        return [record.offset for record in records]

    async def read(self, at: TopicPartition, offset: int, *, records_max: int = 1_000) -> list[Record]:
        partition, found = self._partitions[at], list[Record]()
        if partition.earliest <= offset < partition.floor:
            found = await self._archives[at].read(offset, records_max)
        found = found or partition.read(offset, records_max)
        if len(found) == records_max:  # who reads all there is lets others run between
            await asyncio.sleep(0)
        return found

    def follow(self, at: TopicPartition, offset: int) -> AsyncIterator[list[Record]]:
        return follow(self._partitions[at], offset, self.read)

    async def earliest(self, at: TopicPartition) -> int:
        return self._partitions[at].earliest

    async def latest(self, at: TopicPartition) -> int:
        return self._partitions[at].visible_below

    async def trim(self, at: TopicPartition, before: int) -> None:
        self._partitions[at].trim(before)
        if at in self._archives:
            await self._archives[at].trim(before)

    def files(self) -> list[str]:
        """All that is not written any more, but the last of each archive; in the order of their paths."""
        return sorted([*self._journal.files, *(path for archive in self._archives.values() for path in archive.files)])

    async def check(self, path: str) -> int:
        """Read all copies of one of the files, which are made the same; its size, 0 where it is gone.

        Raises `LogCorrupt`, `OSError` where none is whole.
        """
        folder, _, _ = path.rpartition("/")
        for at, archive in self._archives.items():
            if folder == _folder(at):
                return await archive.check(path)
        return await self._journal.check(path)

    async def scrubbed(self) -> str:
        """The last file that was checked in this pass."""
        return (await self._disk.load(SCRUBBED) or b"").decode(errors="replace")

    async def put_scrubbed(self, path: str) -> None:
        await self._disk.store(SCRUBBED, path.encode())

    async def close(self) -> None:
        """Write what is still unsynced and let go of the files."""
        if self._buffer:
            await self._synced()
        if self._writer is not None:
            await self._writer
        for task in (self._archiving, self._removing):  # which the writer began
            if task is not None:
                await task
        await self._journal.close()
        for archive in self._archives.values():
            await archive.close()

    @property
    def _is_writing(self) -> bool:
        return self._writer is not None and not self._writer.done()

    async def _synced(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if not self._is_writing:
            self._writer = asyncio.create_task(self._write())
        await waiter

    async def _write(self) -> None:
        while self._waiters:
            batch, self._buffer, self._buffered_bytes = self._buffer, [], 0
            data = b"".join([each.frame for each in batch])
            waiters, self._waiters = self._waiters, []
            ends = {at: partition.next_offset for at, partition in self._partitions.items()}
            try:
                if self._journal.is_full(len(data)):
                    await self._roll()
                checkpoint = self._checkpoint(ends) if self._untold else None
                await self._journal.write(data, checkpoint)
            except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits must hear of it
                self._burn(batch)
                self._finish(waiters, LogError(f"the log cannot be written ({error}); check the disk's space and health"))
                continue
            assert self._journal.active is not None
            self._segment_ends[self._journal.active.number] = ends
            for at, end in ends.items():
                self._partitions[at].made_durable(end)
            self._finish(waiters, None)
            if checkpoint is not None:
                self._told(checkpoint)
            if self._floors and self._removing is None:
                self._removing = asyncio.create_task(self._remove_segments())
            if not self._is_archived and self._archiving is None:
                self._archiving = asyncio.create_task(self._archive_beside())

    @staticmethod
    def _finish(waiters: Sequence[asyncio.Future[None]], error: LogError | None) -> None:
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def _burn(self, batch: Sequence["_Pending"]) -> None:
        """After a failed write: who waited is told, so those records go; whoever did not wait was promised theirs."""
        for each in batch:
            if each.durable:
                each.partition.drop_between(each.offset, each.offset + 1)
        self._untold = True
        kept = [each for each in batch if not each.durable]
        self._buffer = kept + self._buffer
        self._buffered_bytes += sum(len(each.frame) for each in kept)

    async def _roll(self) -> None:
        """Begin a new segment. What the one before left to be archived is by then: so memory holds two at most."""
        if self._archiving is not None:
            await self._archiving
        if not self._is_archived:
            await self._archive()
        checkpoint = self._checkpoint({at: partition.durable_below for at, partition in self._partitions.items()})
        await self._journal.roll(checkpoint)
        self._is_archived, self._archiving = not self._journal.sealed, None
        self._floors = checkpoint.earliest | checkpoint.archived  # `_untold` stays: offsets burned since are not in it

    def _checkpoint(self, ends: Mapping[TopicPartition, int]) -> Checkpoint:
        """`ends`: the offsets behind all that comes before it in the journal."""
        return Checkpoint(
            {_name(at): end for at, end in ends.items()},
            {_name(at): partition.earliest for at, partition in self._partitions.items()},
            {_name(at): archive.next_offset for at, archive in self._archives.items()},
        )

    def _told(self, checkpoint: Checkpoint) -> None:
        """It is in the journal."""
        self._untold = False
        self._floors = checkpoint.earliest | checkpoint.archived

    async def _archive_beside(self) -> None:
        try:
            await self._archive()
        except Exception as error:  # noqa: BLE001 - tried again by the next roll, which tells who waits
            log_.error("the archive cannot be written now: %s; check the disk's space and health", error)

    async def _archive(self) -> None:
        """Move what is kept into the archives."""
        for at, archive in list(self._archives.items()):
            partition = self._partitions[at]
            await archive.append(partition.durable_from(archive.next_offset))
            partition.drop_below(archive.next_offset)
        self._is_archived = self._untold = True

    async def _remove_segments(self) -> None:
        """Those of which nothing is needed, by the last checkpoint. To be called when a batch is durable in the active
        segment: until then damage to its head could not be told from one that was torn."""
        floors, self._floors = self._floors, {}
        try:
            for number in list(self._journal.sealed):
                if any(end > floors.get(_name(at), 0) for at, end in self._segment_ends.get(number, {}).items()):
                    break  # segments go in order, so that a start never finds a gap
                await self._journal.remove(number)
                self._segment_ends.pop(number, None)
        except OSError as error:
            log_.error("a segment of the journal cannot be removed now: %s; check the disk's health", error)
        finally:
            self._removing = None

    async def _recover(self) -> None:
        topics = [spec.name for spec in self._manifest.topics]
        async for frame in self._journal.recover():
            if frame.topic == CHECKPOINT_TOPIC:
                self._restore(msgspec.json.decode(frame.record.value, type=Checkpoint))
                continue
            at = TopicPartition(topics[frame.topic], frame.partition)
            partition = self._partitions[at]
            if frame.record.offset >= max(partition.next_offset, partition.floor):
                partition.add([frame.record])
        numbers = [*self._journal.sealed, *([self._journal.active.number] if self._journal.active else [])]
        ends = {at: partition.next_offset for at, partition in self._partitions.items()}
        self._segment_ends = dict.fromkeys(numbers, ends)
        self._is_archived = not self._journal.sealed
        for partition in self._partitions.values():
            partition.made_durable(partition.next_offset)
            partition.trim(partition.earliest)
        for archive in self._archives.values():
            await archive.cut_torn_tail()

    def _restore(self, checkpoint: Checkpoint) -> None:
        for at, partition in self._partitions.items():
            partition.next_offset = max(partition.next_offset, checkpoint.next_offsets.get(_name(at), 0))
            partition.earliest = max(partition.earliest, checkpoint.earliest.get(_name(at), 0))
        for at, archive in self._archives.items():
            if archive.next_offset < checkpoint.archived.get(_name(at), 0):
                raise LogCorrupt(f"{archive.last} is damaged or too short; restore the file from a copy")

    async def _add_partitions(self, spec: TopicSpec, first: int) -> None:
        for number in range(first, spec.partitions):
            at = TopicPartition(spec.name, number)
            partition = self._partitions[at] = Partition(at, spec)
            if spec.kept:
                archive = self._archives[at] = await Archive.open(self._disk, _folder(at))
                partition.floor = partition.next_offset = archive.next_offset
                partition.earliest = archive.earliest or 0

    async def _save_manifest(self) -> None:
        await self._disk.store(MANIFEST, sealed(msgspec.json.encode(self._manifest)))


def mended(path: str, copies: Sequence[bytes]) -> bytes:
    """What copies of one of the log's files come to that differ: a power cut tore them, or a bit in one flipped.

    They were written alike. Of two whole manifests the longer has topics that nobody was told of yet.
    """
    if path != MANIFEST:
        return merged(copies)
    return max((each for each in copies if _is_whole(each)), key=len, default=copies[0])


def _is_whole(stored: bytes) -> bool:
    try:
        _parsed(stored)
    except LogCorrupt:
        return False
    return True


def _parsed(stored: bytes) -> _Manifest:
    """Raises `LogCorrupt`."""
    try:
        return msgspec.json.decode(unsealed(stored), type=_Manifest)
    except ValueError as error:
        raise LogCorrupt(f"{MANIFEST} is damaged ({error}); restore the file from a copy") from error


def _folder(at: TopicPartition) -> str:
    return f"archive/{at.topic}/{at.partition:04}"


def _name(at: TopicPartition) -> str:
    return f"{at.topic}/{at.partition}"
