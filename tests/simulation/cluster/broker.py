"""The log of the cluster, and how each process reaches it: late, twice, in parts or not at all, and not always told."""

import asyncio
import enum
import random
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from tests.simulation.cluster.processes import STEP_S, Process
from topics import commands, owners
from topics.log import Entry, LogError, OffsetTrimmed, Record, check_size
from topics.memory import MemoryLog
from topics.partition import follow
from topics.spec import TopicPartition, TopicSpec

STALLED_S = 0.05
APART_S = 2 * STEP_S  # what lands in one step of the loop lands in any order
TOLD_LATE_S = 3.0
DELAY_S, LONG_DELAY_S = 0.003, 0.4
REPEATED, AGAIN_S = 0.3, 0.1  # of appends, where nothing else is wrong
CUT_S = 1.0  # until somebody who is cut off is told so
UNREAD, ANSWERED_LATE_S = 0.5, 2.0
LANDS_LATE_S = 6.0
LATE_S, VERY_LATE_S = 12.0, 60.0  # when an append lands that was given up


class Fate(enum.Enum):
    ARRIVES = "arrives"
    FAILS = "append failed"
    UNCLEAR = "append failed, landed late"
    IN_PART = "append failed, landed in part"
    SLOWLY_TOLD = "append acknowledged late"
    TWICE = "append landed twice"


class Weather:
    """What the network does to messages at the time."""

    def __init__(
        self, rng: random.Random, reached: Callable[[str], None], lateness_s: Sequence[float] = (0.1, LATE_S, VERY_LATE_S)
    ) -> None:
        self.rng = rng
        self.is_bad = False
        self.repeats = False
        self.lateness_s = lateness_s
        self._reached = reached

    def delay_s(self) -> float:
        is_long = self.is_bad and self.rng.random() < 0.05
        return self.rng.random() * (LONG_DELAY_S if is_long else DELAY_S)

    def fate(self) -> Fate:
        if self.repeats and self.rng.random() < REPEATED:
            self._reached(Fate.TWICE.value)
            return Fate.TWICE
        if not self.is_bad or self.rng.random() > 0.15:
            return Fate.ARRIVES
        fate = self.rng.choice([Fate.FAILS, Fate.UNCLEAR, Fate.IN_PART, Fate.SLOWLY_TOLD, Fate.TWICE])
        self._reached(fate.value)
        return fate


class SimulatedLog(MemoryLog):
    """Notes which commands reached it before their deadline. Forgets what is old, or loses its end, as the world wants."""

    def __init__(self, identity: str, clock_ms: Callable[[], int], now_s: Callable[[], float]) -> None:
        """`now_s`: the world's time, whatever the clock says."""
        super().__init__(identity, clock_ms)
        self._now_s = now_s
        self._landed: dict[TopicPartition, list[tuple[float, int]]] = {}  # when, and where
        self.in_time: set[str] = set()  # by their first copies: a command that comes again is not decided again
        self._asked: set[str] = set()

    def land(self, at: TopicPartition, entries: Sequence[Entry]) -> list[int]:
        if at.topic == "commands":
            for command in (commands.decode(entry.value) for entry in entries):
                if command.request_id not in self._asked and self._clock_ms() <= command.deadline_ms:
                    self.in_time.add(command.request_id)
                self._asked.add(command.request_id)
        offsets = super().land(at, entries)
        self._landed.setdefault(at, []).append((self._now_s(), offsets[0]))
        return offsets

    def forget(self, at: TopicPartition, age_s: float) -> None:
        """What is older goes, whoever still follows it: as the brokers do by themselves."""
        young = (offset for landed_s, offset in self._landed.get(at, ()) if landed_s >= self._now_s() - age_s)
        self._partitions[at].trim(next(young, self._partitions[at].next_offset))

    def lose_end(self, at: TopicPartition, records: int) -> None:
        """What all brokers had in memory only; their offsets come again, and who follows from behind is told."""
        partition = self._partitions[at]
        end = max(partition.earliest, partition.next_offset - records)
        partition.drop_between(end, partition.next_offset)
        partition.next_offset = partition.durable_below = end
        partition.wake()

    def follow(self, at: TopicPartition, offset: int) -> AsyncIterator[list[Record]]:
        async def read(at: TopicPartition, offset: int) -> list[Record]:
            if offset > self._partitions[at].next_offset:
                raise OffsetTrimmed(f"{at.topic}:{at.partition} ends before {offset}")
            return await self.read(at, offset)

        return follow(self._partitions[at], offset, read)


class Connection:
    """`Log` as one process has it. What it sent is on its way, whatever becomes of the process."""

    repeats = True

    def __init__(self, log: MemoryLog, process: Process, weather: Weather, name: str = "") -> None:
        self._log = log
        self._name = name
        self._process = process
        self._weather = weather
        self._lands: dict[TopicPartition, float] = {}  # when the last append under way arrives: they keep their order
        self.is_cut = False  # what is sent does not arrive, what is asked is not answered, nothing is heard
        self.fails = set[str]()  # topics: who follows one is told that it cannot be read, once
        self.stalls: dict[str, float] = {}  # topic → until when nothing of it gets here
        self.is_told_late = False  # of what it appended
        self.lands_late_until_s = 0.0  # what it appends: the brokers are busy
        self.misreads_until_s = 0.0  # what other owners say: a newer release's words
        self.unread_until_s = 0.0  # half of what is asked is answered with an error
        self.answers_late_until_s = 0.0  # with what was so when it was asked

    @property
    def identity(self) -> str:
        return self._log.identity

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        await self._log.create_topics(specs)

    async def append(self, at: TopicPartition, entries: Sequence[Entry], *, durable: bool) -> list[int]:
        del durable
        check_size(entries)
        await self._log.latest(at)  # raises where there is no such partition
        if not entries:
            return []
        loop, rng, fate = self._process.loop, self._weather.rng, Fate.FAILS if self.is_cut else self._weather.fate()
        self._process.reach(f"{at.topic} sent")
        told: asyncio.Future[list[int]] = loop.create_future()
        after_s = self._weather.delay_s()
        if self.lands_late_until_s > loop.time():
            after_s += rng.random() * LANDS_LATE_S
        if fate in {Fate.ARRIVES, Fate.SLOWLY_TOLD, Fate.TWICE}:
            lands = self._lands[at] = max(self._lands.get(at, 0.0) + APART_S, loop.time() + after_s)
            is_late = fate is Fate.SLOWLY_TOLD or self.is_told_late
            tell_after_s = (rng.random() + 1) * TOLD_LATE_S / 2 if is_late else self._weather.delay_s()
            if fate is Fate.TWICE:  # it was sent again, as no answer came
                loop.in_world(lands - loop.time(), lambda: self._land(at, entries, None, 0))
                lands = self._lands[at] = lands + rng.random() * (AGAIN_S if self._weather.repeats else 2)
            loop.in_world(lands - loop.time(), lambda: self._land(at, entries, told, tell_after_s))
            return await told
        if fate is not Fate.FAILS:
            late_s = rng.random() * rng.choice(self._weather.lateness_s)
            some = entries[: rng.randrange(len(entries)) + 1] if fate is Fate.IN_PART else entries
            loop.in_world(late_s, lambda: self._land(at, some, None, 0))
        await asyncio.sleep(rng.random() * 2)
        raise LogError(f"append to {at.topic}:{at.partition} was not acknowledged")

    def _land(
        self, at: TopicPartition, entries: Sequence[Entry], told: asyncio.Future[list[int]] | None, after_s: float
    ) -> None:
        process = self._process
        if process.is_paused and not process.has_sent:
            process.when_resumed.append(lambda: self._land(at, entries, told, after_s))
            return
        if process.is_dead and self._weather.rng.random() < 0.5:
            return
        if len(entries) > 1 and at.topic == "events" and self._weather.rng.random() < 0.2:
            self._land_apart(at, entries, told, after_s)
            return
        self._tell(told, self._log.land(at, entries), after_s)
        process.reach(f"{at.topic} landed")

    def _land_apart(
        self, at: TopicPartition, entries: Sequence[Entry], told: asyncio.Future[list[int]] | None, after_s: float
    ) -> None:
        """As two batches, between which others may append."""
        split = self._weather.rng.randrange(1, len(entries))
        first = self._log.land(at, entries[:split])

        def rest() -> None:
            self._tell(told, first + self._log.land(at, entries[split:]), after_s)

        self._process.loop.in_world(self._weather.delay_s(), rest)

    def _tell(self, told: asyncio.Future[list[int]] | None, offsets: list[int], after_s: float) -> None:
        def tell() -> None:
            if told is not None and not told.done():
                told.set_result(offsets)

        self._process.loop.in_world(after_s, tell)

    async def read(self, at: TopicPartition, offset: int, *, records_max: int = 1_000) -> list[Record]:
        await self._is_reached()
        records = await self._log.read(at, offset, records_max=records_max)
        await self._answered()
        return records

    async def follow(self, at: TopicPartition, offset: int) -> AsyncIterator[list[Record]]:
        async for batch in self._log.follow(at, offset):
            await asyncio.sleep(self._weather.delay_s())
            while self.is_cut or self.stalls.get(at.topic, 0.0) > self._process.loop.time():
                await asyncio.sleep(STALLED_S)
            if at.topic in self.fails:
                self.fails.discard(at.topic)
                raise LogError(f"{at.topic}:{at.partition} cannot be read")
            if at.topic == "owners" and self.misreads_until_s > self._process.loop.time():
                yield [self._misread(each) for each in batch]
            else:
                yield batch

    def _misread(self, lease: Record) -> Record:
        is_own = owners.decode(lease.value).owner == self._name
        return lease if is_own else msgspec.structs.replace(lease, value=b"?")

    async def earliest(self, at: TopicPartition) -> int:
        await self._is_reached()
        found = await self._log.earliest(at)
        await self._answered()
        return found

    async def latest(self, at: TopicPartition) -> int:
        await self._is_reached()
        found = await self._log.latest(at)
        await self._answered()
        return found

    async def trim(self, at: TopicPartition, before: int) -> None:
        await self._is_reached()
        await self._log.trim(at, before)

    async def _is_reached(self) -> None:
        if self.is_cut:
            await asyncio.sleep(CUT_S)
            raise LogError("the brokers cannot be reached")
        if self.unread_until_s > self._process.loop.time() and self._weather.rng.random() < UNREAD:
            await asyncio.sleep(self._weather.delay_s())
            raise LogError("the log cannot be read")

    async def _answered(self) -> None:
        is_late = self.answers_late_until_s > self._process.loop.time()
        await asyncio.sleep(self._weather.rng.random() * ANSWERED_LATE_S if is_late else self._weather.delay_s())
