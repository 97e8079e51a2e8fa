"""The embedded adapter of `Log`: a journal of segment files with group commit, and an archive for topics that are kept.

Appends gather in memory; one writer task takes all that waits and puts it into the journal with one synced write. What was
appended unsynced leaves in that same write. When the journal rolls, kept records move into the archive, and segments in
which nothing is needed any more are removed. Records that are not archived are held in memory; the journal is read only
at start. After a failed write the records that somebody waited for are gone and their offsets burned; those that nobody
waited for stay for the next write: their appender was told that they are in the log.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple

import msgspec

from topics.archive import Archive
from topics.disk import Disk
from topics.frame import merged, pack
from topics.journal import CHECKPOINT_TOPIC, SEGMENT_BYTES, Checkpoint, Journal
from topics.log import Entry, LogCorrupt, LogError, Record
from topics.memory import check_size
from topics.partition import Partition
from topics.seal import sealed, unsealed
from topics.spec import TopicPartition, TopicSpec

MANIFEST = "log.json"
UNSYNCED_BYTES_MAX = 8 << 20  # beyond this an append waits for a sync first


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

    def __init__(self, disk: Disk, clock_ms: Callable[[], int], *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._clock_ms = clock_ms
        self._disk = disk
        self._journal = Journal(disk, segment_bytes)
        self._partitions: dict[TopicPartition, Partition] = {}
        self._archives: dict[TopicPartition, Archive] = {}
        self._numbers: dict[str, int] = {}
        self._segment_ends: dict[int, dict[TopicPartition, int]] = {}  # last offset + 1 that each segment holds
        self._buffer: list[_Pending] = []
        self._buffered_bytes = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._writer: asyncio.Task[None] | None = None
        stored = disk.load(MANIFEST)
        if stored is None:
            self._manifest = _Manifest(uuid.uuid4().hex)
            self._save_manifest()
        else:
            self._manifest = _parsed(stored)
        for spec in self._manifest.topics:
            self._numbers[spec.name] = len(self._numbers)
            self._add_partitions(spec, 0)
        self._recover()

    @property
    def identity(self) -> str:
        return self._manifest.identity

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        have = {spec.name: number for number, spec in enumerate(self._manifest.topics)}
        for spec in specs:
            if spec.name not in have:
                self._manifest.topics.append(spec)
                self._numbers[spec.name] = len(self._numbers)
                self._add_partitions(spec, 0)
                continue
            before = self._manifest.topics[have[spec.name]].partitions
            if spec.grows and before < spec.partitions:
                self._manifest.topics[have[spec.name]] = spec
                self._add_partitions(spec, before)
            elif before != spec.partitions:
                raise LogError(f"topic {spec.name} has {before} partitions, not {spec.partitions}")
        self._save_manifest()

    async def append(self, at: TopicPartition, entries: Sequence[Entry], *, durable: bool) -> list[int]:
        check_size(entries)
        partition = self._partition(at)
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
        if durable and (self._buffer or self._is_writing):
            await self._synced()
        return [record.offset for record in records]

    async def read(self, at: TopicPartition, offset: int, *, records_max: int = 1_000) -> list[Record]:
        partition = self._partition(at)
        if partition.earliest <= offset < partition.floor and (found := self._archives[at].read(offset, records_max)):
            return found
        return partition.read(offset, records_max)

    async def follow(self, at: TopicPartition, offset: int) -> AsyncIterator[list[Record]]:
        partition = self._partition(at)
        while True:
            await partition.wait(offset)
            if batch := await self.read(at, offset):
                offset = batch[-1].offset + 1
                yield batch
            else:
                offset = max(offset, partition.visible_below)

    async def earliest(self, at: TopicPartition) -> int:
        return self._partition(at).earliest

    async def latest(self, at: TopicPartition) -> int:
        return self._partition(at).visible_below

    async def trim(self, at: TopicPartition, before: int) -> None:
        self._partition(at).trim(before)
        if at in self._archives:
            self._archives[at].trim(before)

    async def close(self) -> None:
        """Write what is still unsynced and let go of the files."""
        if self._buffer:
            await self._synced()
        if self._writer is not None:
            await self._writer
        await self._journal.close()
        for archive in self._archives.values():
            archive.close()

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
                await self._journal.write(data)
            except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits must hear of it
                self._burn(batch)
                self._finish(waiters, LogError(f"the log cannot be written ({error}); check the disk's space and health"))
                continue
            assert self._journal.active is not None
            self._segment_ends[self._journal.active.number] = ends
            for at, end in ends.items():
                self._partitions[at].made_durable(end)
            self._finish(waiters, None)

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
        kept = [each for each in batch if not each.durable]
        self._buffer = kept + self._buffer
        self._buffered_bytes += sum(len(each.frame) for each in kept)

    async def _roll(self) -> None:
        """Seal the segment: archive what is kept, remove segments that hold nothing needed, begin a new one."""
        for at, archive in self._archives.items():
            partition = self._partitions[at]
            await archive.append([each for each in partition.records if each.offset < partition.durable_below])
            partition.drop_below(archive.next_offset)
        ends = {_name(at): partition.durable_below for at, partition in self._partitions.items()}
        earliest = {_name(at): partition.earliest for at, partition in self._partitions.items()}
        archived = {_name(at): archive.next_offset for at, archive in self._archives.items()}
        await self._journal.roll(Checkpoint(ends, earliest, archived))
        for number in list(self._journal.sealed):
            needed = any(end > self._partitions[at].floor for at, end in self._segment_ends.get(number, {}).items())
            if needed:
                break  # segments go in order, so that a start never finds a gap
            self._journal.remove(number)
            self._segment_ends.pop(number, None)

    def _recover(self) -> None:
        topics = [spec.name for spec in self._manifest.topics]
        for frame in self._journal.recover():
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
        for partition in self._partitions.values():
            partition.made_durable(partition.next_offset)
            partition.trim(partition.earliest)
        for archive in self._archives.values():
            archive.cut_torn_tail()

    def _restore(self, checkpoint: Checkpoint) -> None:
        for at, partition in self._partitions.items():
            partition.next_offset = max(partition.next_offset, checkpoint.next_offsets.get(_name(at), 0))
            partition.earliest = max(partition.earliest, checkpoint.earliest.get(_name(at), 0))
        for at, archive in self._archives.items():
            if archive.next_offset < checkpoint.archived.get(_name(at), 0):
                raise LogCorrupt(f"{archive.last} is damaged or too short; restore the file from a copy")

    def _add_partitions(self, spec: TopicSpec, first: int) -> None:
        for number in range(first, spec.partitions):
            at = TopicPartition(spec.name, number)
            partition = self._partitions[at] = Partition(at, spec)
            if spec.kept:
                archive = self._archives[at] = Archive(self._disk, f"archive/{spec.name}/{number:04}")
                partition.floor = partition.next_offset = archive.next_offset
                partition.earliest = archive.earliest or 0

    def _save_manifest(self) -> None:
        self._disk.store(MANIFEST, sealed(msgspec.json.encode(self._manifest)))

    def _partition(self, at: TopicPartition) -> Partition:
        try:
            return self._partitions[at]
        except KeyError:
            raise LogError(f"no partition {at.topic}:{at.partition}; create the topic first") from None


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


def _name(at: TopicPartition) -> str:
    return f"{at.topic}/{at.partition}"
