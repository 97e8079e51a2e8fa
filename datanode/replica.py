"""One replication group on one node: `writes` of the group into the volumes, and what it cannot take from there.

Replication is consumption: each member of the group follows its partition. A payload goes into the volumes as it comes. A
claim check for a blob that is not here with the bytes that it tells of, or a payload for which the disk has no room, is
noted and fetched meanwhile: from a peer, or again from the log. Releases are carried out as they come; a release cancels
what was noted. So what lies below `position` is verified from end to end; a blob that is ahead of its claim may not be.
Positions: `position` is how far the log was read; `settled` is below what is still to be fetched. Only settled positions
are stored and told, so that the log keeps what a node still needs, and a start finds it again.
Errors: an unknown record stops the group on this node, loudly.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from datanode.fetch import CLAIMS_AT_ONCE, Fetch, Wanted
from datanode.node import BlobUnavailable
from datanode.store import Held, NewBlob, VolumeStore
from topics import writes
from topics.log import Log, LogError, OffsetTrimmed, Record, decoded
from topics.spec import TopicPartition

AGAIN_S = 0.5
LOOK_S = 0.2  # for a blob that is still arriving from the group's leader
WANTED_MAX = 100_000  # beyond this the group waits: what is noted is in memory
SLICE_BYTES = 8 << 20  # of payloads at once: ~30 ms of the loop, and two times as much memory
HELD_TOLD_S = 600.0  # a blob that nobody gives for so long keeps the log from being trimmed: told, and told again
log_ = logging.getLogger(__name__)


class GroupReplica:
    def __init__(
        self,
        log: Log,
        store: VolumeStore,
        group: int,
        fetch: Fetch,
        sources: Callable[[], list[str]],
        on_gap: Callable[[], None],
    ) -> None:
        """`sources`: names of the peers that may have the group's blobs, best first. `on_gap` is told that the log starts
        behind what the volumes are known to have: older blobs may be missing here."""
        self.group = group
        self.position = 0
        self.begins = 0  # from here on it has read the log without a gap
        self._log = log
        self._store = store
        self._at = TopicPartition("writes", group)
        self._fetch = fetch
        self._sources = sources
        self._on_gap = on_gap
        self._wanted: dict[bytes, tuple[int, Wanted | None]] = {}  # blob → its offset; None: its payload is in the log
        self._has_wanted = asyncio.Event()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._started = asyncio.Event()
        self._held = 0, 0.0  # where the settled position stands, and since when
        self._told_s = 0.0
        self.synced: int | None = None  # what was settled when the volumes were synced last; None: not yet
        self.unsettled_bytes = 0
        self.unsettled_records = 0

    @property
    def settled(self) -> int:
        return min((offset for offset, _ in self._wanted.values()), default=self.position)

    @property
    def wanted(self) -> int:
        """How many blobs it knows that it lacks."""
        return len(self._wanted)

    def announced(self) -> list[Held]:
        """What claims tell of that is not here. One that came behind the release of its blob is of none that there is."""
        return [Held(each.blob, each.length, each.partition) for _, each in self._wanted.values() if each is not None]

    def wants(self, blob: bytes) -> bool:
        return blob in self._wanted

    @property
    def is_started(self) -> bool:
        """Else nothing is known of its positions."""
        return self._started.is_set()

    async def started(self) -> int:
        """From where it reads the log."""
        await self._started.wait()
        return self.begins

    async def run(self) -> None:
        """For ever; starts where its volumes are known to be complete, or at the earliest record kept."""
        tasks = [asyncio.create_task(each) for each in (self._follow(), self._fetch_wanted())]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def payload(self, blob: bytes) -> bytes | None:
        """Of a small blob, from the log: as long as it is not known to be in synced volumes, the log has it. Raises
        `LogError`."""
        offset, wanted = self._wanted.get(blob, (0, None))
        if wanted is not None:  # a large one
            return None
        async for record, write in self._unsynced(offset):
            if record.key == blob and isinstance(write, writes.Payload):
                return write.data
        return None

    async def take_again(self) -> None:
        """Those that are not whole in the volumes, as after a sync that failed. Raises `OSError`, `LogError`."""
        async for record, write in self._unsynced():
            if isinstance(write, writes.Payload) and self._store.has(self.group, record.key):
                await self._store.put_all([NewBlob(self.group, record.key, write.partition, write.data)])

    async def _unsynced(self, start: int = 0) -> AsyncIterator[tuple[Record, writes.Write]]:
        """What was consumed, from `start` on, and is not known to be in synced volumes."""
        synced = self.begins if self.synced is None else self.synced
        start = max(start, synced, await self._log.earliest(self._at))
        while start < self.position and (records := await self._log.read(self._at, start)):
            for record in records:
                yield record, decoded(self._at, record, writes.decode)
            start = records[-1].offset + 1

    async def reached(self, position: int) -> None:
        """Return when the record at `position` was consumed."""
        if self.position > position:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((position, waiter))
        await waiter

    async def _follow(self) -> None:
        while True:
            try:
                await self._consume_all()
            except OffsetTrimmed:
                continue  # trimmed since it was asked for
            except LogError as error:
                log_.warning("group %d cannot be followed and will be again: %s", self.group, error)
                await asyncio.sleep(AGAIN_S)

    async def _consume_all(self) -> None:
        earliest = await self._log.earliest(self._at)
        known = self.position if self.is_started else await self._known()
        if known < earliest:
            self._on_gap()
        self.position = max(known, earliest)
        if known < earliest or not self.is_started:
            self.begins = self.position
        self._started.set()
        async for batch in self._log.follow(self._at, self.position):
            while len(self._wanted) > WANTED_MAX:  # noqa: ASYNC110 - rare, and not worth an event
                await asyncio.sleep(AGAIN_S)
            await self.consume(batch)

    async def _known(self) -> int:
        """How far the log is in the volumes, at a start."""
        stored, latest = self._store.position(self.group) or 0, await self._log.latest(self._at)
        if stored > latest:
            log_.error("group %d was read to %d and its log ends at %d: it lost its end", self.group, stored, latest)
        return min(stored, latest)

    async def consume(self, batch: Sequence[Record]) -> None:
        """Raises `UnknownRecord` behind all that comes before such a record: whoever deletes up to it loses nothing."""
        known: list[tuple[Record, writes.Write]] = []
        try:
            for record in batch:
                known.append((record, decoded(self._at, record, writes.decode)))
        finally:
            if known:
                await self._consume(known)

    async def _consume(self, batch: Sequence[tuple[Record, writes.Write]]) -> None:
        payloads: dict[bytes, NewBlob] = {}
        offsets: dict[bytes, int] = {}
        released: list[bytes] = []
        await self._store.answers()
        lacking = await self._lacking(batch)
        for record, write in batch:
            match write:
                case writes.Payload(partition, data):
                    payloads[record.key] = NewBlob(self.group, record.key, partition, data)
                    offsets[record.key] = record.offset
                case writes.Claim():
                    if (wanted := lacking.get(record.offset)) is not None:
                        self._want(record.key, record.offset, wanted)
                case writes.Release():
                    payloads.pop(record.key, None)
                    self._wanted.pop(record.key, None)
                    released.append(record.key)
            self.unsettled_bytes += len(record.value)
        for part in _slices(list(payloads.values())):
            try:
                await self._store.put_all(part)
            except OSError as error:
                log_.error("group %d: payloads wait for room on the disk: %s", self.group, error)
                for new in part:
                    self._want(new.blob, offsets[new.blob], None)
            if len(part) < len(payloads):
                await asyncio.sleep(0)
        if released:
            await self._store.answers()
            self._store.release(self.group, released)
        self.unsettled_records += len(batch)
        self._move(batch[-1][0].offset + 1)

    async def _lacking(self, batch: Sequence[tuple[Record, writes.Write]]) -> dict[int, Wanted]:
        """What claims name and is not here, by their offsets."""
        lacking = {}
        for record, write in batch:
            match write:
                case writes.Claim(partition, length, crc32c, holders):
                    wanted = Wanted(self.group, record.key, partition, length, tuple(holders), crc32c)
                    if not await self._fetch.is_here(wanted):
                        lacking[record.offset] = wanted
                case _:
                    pass
        return lacking

    def _want(self, blob: bytes, offset: int, wanted: Wanted | None) -> None:
        self._wanted[blob] = (offset, wanted)
        self._has_wanted.set()

    def _move(self, position: int) -> None:
        self.position = position
        waiting, self._waiters = self._waiters, []
        for wanted, waiter in waiting:
            if wanted >= position:
                self._waiters.append((wanted, waiter))
            elif not waiter.done():
                waiter.set_result(None)

    async def _fetch_wanted(self) -> None:
        if self._wanted:  # by a run that was broken off
            self._has_wanted.set()
        while True:
            await self._has_wanted.wait()
            self._has_wanted.clear()
            if not self._store.is_read_only:
                await self._get_all(iter(list(self._wanted)))
            if self._wanted:
                self._tell_if_held()
                self._has_wanted.set()
                await asyncio.sleep(LOOK_S)

    @property
    def held_s(self) -> float:
        """For how long one blob has kept the group's log from being trimmed; 0 where none does."""
        return asyncio.get_running_loop().time() - self._held[1] if self._wanted and self._held[1] else 0.0

    def _tell_if_held(self) -> None:
        now_s, settled = asyncio.get_running_loop().time(), self.settled
        if settled != self._held[0] or not self._held[1]:
            self._held = settled, now_s
        if self.held_s >= HELD_TOLD_S and now_s - self._told_s >= HELD_TOLD_S:
            self._told_s = now_s
            blob = min(self._wanted, key=lambda each: self._wanted[each][0])
            log_.error(
                "group %d: blob %s was announced %.0f s ago and no node gives it; the log of the group is kept from %d on "
                "until a node that has it is back, or its object is deleted",
                *(self.group, blob.hex(), self.held_s, settled),
            )

    async def _get_all(self, left: Iterator[bytes]) -> None:
        """One attempt at each. A few at a time: a task for each of very many would cost 2 KB of memory apiece."""

        async def take() -> None:
            for blob in left:
                await self._get(blob)

        await asyncio.gather(*(take() for _ in range(CLAIMS_AT_ONCE)))

    async def _get(self, blob: bytes) -> None:
        """One attempt; what does not come now is tried again."""
        if blob not in self._wanted:  # released before it was its turn
            return
        offset, wanted = asked = self._wanted[blob]
        try:
            if self._store.is_arriving(self.group, blob):
                return
            if wanted is None:
                await self._take_from_log(blob, offset)
            elif not await self._fetch.is_here(wanted):
                async with self._fetch.claims.turn():
                    await self._fetch.get(wanted, self._sources())
        except OffsetTrimmed:  # what the node lost it wanted again, while the log went on without it: a holder has it
            if not self._store.has(self.group, blob):
                self._on_gap()
            self._wanted.pop(blob, None)
            return
        except (BlobUnavailable, OSError, LogError) as error:
            log_.debug("blob %s is fetched again: %s", blob.hex(), error)
            return
        is_right = wanted is None or await self._fetch.is_here(wanted)
        if blob not in self._wanted:  # released while it came
            self._store.release(self.group, [blob])
        elif is_right and self._wanted[blob] is asked and self._store.has(self.group, blob):  # else it is wanted anew
            del self._wanted[blob]

    async def _take_from_log(self, blob: bytes, offset: int) -> None:
        for record in await self._log.read(self._at, offset, records_max=1):
            write = writes.decode(record.value)
            if record.key == blob and isinstance(write, writes.Payload):
                await self._store.put_all([NewBlob(self.group, blob, write.partition, write.data)])


def _slices(blobs: Sequence[NewBlob]) -> Iterator[list[NewBlob]]:
    part, size = list[NewBlob](), 0
    for each in blobs:
        if part and size + len(each.data) > SLICE_BYTES:
            yield part
            part, size = [], 0
        part.append(each)
        size += len(each.data)
    if part:
        yield part
