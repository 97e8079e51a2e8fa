"""What goes wrong in a cluster: one fault after another, some at once; or one alone, while all else is well."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from gateway.submit import DEADLINE_MS
from processors.readers import GONE_S
from tests.simulation.cluster.broker import TOLD_LATE_S, Connection, SimulatedLog, Weather
from tests.simulation.cluster.coordinator import SESSION_S
from tests.simulation.cluster.owners import Owners
from tests.simulation.cluster.processes import ClusterLoop, Process
from tests.simulation.cluster.processor import Processor
from tests.simulation.plan import Fault, carry_out, planned
from topics.owners import LEASE_S, RENEW_S
from topics.spec import CLUSTER, TopicPartition

BETWEEN_S = 5.0
ALONE = 1  # the act of one fault alone
SKEW_MAX_S = 180.0
STOP_S = 15.0
STALL_S = 15.0
CLOCKS = ["log", "gateway 0", "gateway 1", "processors"]
TOPICS = ("owners", "replies", "commands", "events")
FOLLOWED = (*TOPICS, "readers")
FORGOTTEN = ("owners", "replies", "readers")  # by the brokers themselves, after an hour
KEPT_S = GONE_S + 5.0  # longer than anything that is said there is good for
MOMENT_S = 1.0  # that a bad moment is waited for


class Front(Protocol):
    """A gateway."""

    connection: Connection


class Cluster(Protocol):
    """What faults need of the world."""

    rng: random.Random
    loop: ClusterLoop
    weather: Weather
    owners: Owners
    brokers: SimulatedLog
    skews_s: dict[str, float]  # whose wall clock is wrong, by how much

    @property
    def gateways(self) -> Sequence[Front]: ...

    def machines(self) -> list[tuple[Process, Connection]]: ...

    def note(self, what: str) -> None: ...


class Faults:
    def __init__(self, cluster: Cluster, acts_s: Sequence[float], rng: random.Random) -> None:
        self._in = cluster
        self._rng = cluster.rng
        self._has_misread = self._has_lost = False
        self._alone: list[Callable[[], Awaitable[None]]] = [
            self._crash,
            self._pause,
            self._restart,
            self._expel,
            self._deafen,
            self._twice,
            self._restart,
            self._usurp,
            self._usurp,
            self._misread,
            self._overtake,
            self._fail_to_follow,
        ]
        self._together = [
            *self._alone,
            self._crash,
            self._pause,
            self._storm,
            self._storm,
            self._stall,
            self._overtake,
            self._shuffle,
            self._skew,
            self._skew,
            self._fail_to_follow,
            self._fail_to_follow,
            self._fail_to_read,
            self._answer_late,
            self._forget,
            self._lose_end,
        ]
        self.planned = planned(rng, self._together, acts_s, BETWEEN_S, self._alone)

    async def run(self, act: int) -> None:
        await carry_out((each for each in self.planned if each.act == act), self.befall)
        await self.end()

    async def end(self) -> None:
        """Afterwards all is well, as soon as those that are away are back."""
        self._in.weather.is_bad = self._in.weather.repeats = False
        self._in.owners.coordinator.deaf_until.clear()
        self._in.skews_s.clear()
        for _, connection in self._in.machines():
            connection.stalls.clear()
            connection.is_told_late = False
            connection.misreads_until_s = connection.unread_until_s = connection.answers_late_until_s = 0.0
            connection.fails.clear()
        await self.everybody_is_back()
        if self._has_misread:
            await asyncio.sleep(LEASE_S)  # what could not be read keeps whoever takes over waiting
        if self._has_lost:
            await asyncio.sleep(DEADLINE_MS / 1000)  # what came where others were lost has no answer

    async def one_alone(self) -> str:
        """Which it was."""
        faults = [each for each in self.planned if each.act == ALONE]
        for fault in faults:
            await self.befall(fault)
        await self.everybody_is_back()
        return "".join(each.kind.lstrip("_") for each in faults)

    async def befall(self, fault: Fault) -> None:
        self._rng = fault.choices()
        await getattr(self, fault.kind)()

    async def everybody_is_back(self) -> None:
        while any(process.is_dead or process.is_paused for process, _ in self._in.machines()):
            await asyncio.sleep(0.1)

    def _victim(self) -> tuple[int, Processor] | None:
        slot = self._rng.randrange(len(self._in.owners.processors))
        processor = self._in.owners.processors[slot]
        return None if processor.process.is_dead else (slot, processor)

    def _owning_victim(self) -> tuple[int, Processor] | None:
        """Its loss is noticed."""
        found = list(enumerate(self._in.owners.processors))
        owning = [(slot, each) for slot, each in found if each.ownership.runtimes and not each.process.is_dead]
        return self._rng.choice(owning) if owning else None

    async def _crash(self) -> None:
        if (victim := self._victim()) is None:
            return
        slot, processor = victim
        await self._at_a_bad_moment(processor.process, "events landed", processor.process.kill)
        if processor is not self._in.owners.processors[slot]:
            return
        self._in.note("crash")
        if self._rng.random() < 0.4:
            self._in.owners.lose_views(slot)
        self._in.loop.in_world(self._rng.random() * 8, lambda: self._in.owners.start(slot))

    async def _restart(self) -> None:
        if (victim := self._victim()) is None:
            return
        slot, processor = victim
        stopping = processor.process.run(processor.stop())
        self._in.note("restart")

        async def wait() -> None:
            await asyncio.wait({stopping}, timeout=STOP_S)
            if processor is self._in.owners.processors[slot] and not processor.process.is_dead:
                processor.process.kill()
                self._in.owners.start(slot)

        self._in.loop.create_task(wait())
        await asyncio.wait({stopping}, timeout=self._rng.random() * 2)

    async def _pause(self) -> None:
        """Mostly a processor; sometimes a gateway."""
        victim = self._victim()
        process = self._in.machines()[-1][0] if self._rng.random() < 0.15 else victim[1].process if victim else None
        if process is None:
            return
        seconds = self._rng.choice([3.0, 12.0, 20.0]) * self._rng.random()
        asleep, has_sent = self._rng.random() < 0.25, self._rng.random() < 0.6
        moment = self._rng.choice(["events landed", "lease looked at"])
        await self._at_a_bad_moment(process, moment, lambda: process.pause(seconds, asleep=asleep, has_sent=has_sent))
        self._in.note("pause")

    async def _at_a_bad_moment(self, process: Process, moment: str, befall: Callable[[], None]) -> None:
        """At the next such moment, if there is one soon; or now."""
        if self._rng.random() < 0.5:
            process.awaited[moment] = befall
            await asyncio.sleep(MOMENT_S)
            if process.awaited.pop(moment, None) is None:
                return
        befall()

    async def _moment(self, process: Process, moment: str, within_s: float) -> None:
        """Returns at the next one, or when the time is over."""
        reached: asyncio.Future[None] = self._in.loop.create_future()
        process.awaited[moment] = lambda: reached.set_result(None)
        await asyncio.wait({reached}, timeout=within_s)
        process.awaited.pop(moment, None)

    async def _expel(self) -> None:
        """The group takes a member for dead that is not."""
        if (victim := self._victim()) is not None:
            self._in.owners.coordinator.expel(victim[1].member.name)
            self._in.note("expelled")

    async def _deafen(self) -> None:
        """A member's heartbeats do not get through; all else does."""
        if (victim := self._victim()) is not None:
            until = self._in.loop.time() + SESSION_S * (0.5 + self._rng.random())
            self._in.owners.coordinator.deaf_until[victim[1].member.name] = until
            self._in.note("heartbeats lost")

    async def _storm(self) -> None:
        weather = self._in.weather
        weather.is_bad = True
        self._in.note("storm")
        self._in.loop.in_world(self._rng.random() * 4, lambda: setattr(weather, "is_bad", False))

    async def _twice(self) -> None:
        """Appends are sent again, as their answers get lost, and land twice."""
        weather = self._in.weather
        weather.repeats = True
        self._in.note("appends sent again")
        self._in.loop.in_world(1 + self._rng.random() * 4, lambda: setattr(weather, "repeats", False))

    async def _stall(self) -> None:
        """Nothing more is heard of a topic for a while."""
        _, connection = self._rng.choice(self._in.machines())
        connection.stalls[self._rng.choice(TOPICS)] = self._in.loop.time() + self._rng.random() * STALL_S
        self._in.note("stall")

    async def _usurp(self) -> None:
        """A member is replaced while it, and some gateways, hear nothing of owners; and it, perhaps, nothing at all.

        Whoever replaces it may have been unable to read what it said. At worst what it said last is acknowledged late, and
        it has just read that back: so it knows of no other owner, and its lease must be counted from before it was sent.
        """
        if (victim := self._owning_victim()) is None:
            return
        connection = victim[1].connection
        is_told_late = connection.is_told_late = self._rng.random() < 0.7
        self._in.loop.in_world(STALL_S, lambda: setattr(connection, "is_told_late", False))
        before_s, between_s = self._rng.random() * 3, self._rng.random()
        if self._rng.random() < 0.4:
            others = [each.connection for each in self._in.owners.processors if each is not victim[1]]
            self._misread_by(others, before_s + between_s)
        await asyncio.sleep(before_s)
        if is_told_late:
            await self._moment(victim[1].process, "owners landed", TOLD_LATE_S + RENEW_S)
            await asyncio.sleep(self._rng.random() * 0.1)
        until_s = self._in.loop.time() + LEASE_S + self._rng.random() * STALL_S
        if is_told_late or self._rng.random() < 0.5:
            connection.stalls = dict.fromkeys(TOPICS, until_s)
        for each in [connection, *self._some_gateways()]:
            each.stalls["owners"] = until_s
        await asyncio.sleep(between_s)
        self._in.owners.coordinator.expel(victim[1].member.name)
        self._in.note("usurped")

    async def _overtake(self) -> None:
        """A member stands still with an append on its way and is replaced; it goes on before its successor may begin."""
        if (victim := self._owning_victim()) is None:
            return
        process, seconds = victim[1].process, MOMENT_S + self._rng.random() * LEASE_S
        victim[1].connection.stalls["owners"] = self._in.loop.time() + 2 * seconds  # so its append is what shows it
        process.awaited["events sent"] = lambda: process.pause(seconds, has_sent=False)
        await asyncio.sleep(MOMENT_S)
        process.awaited.pop("events sent", None)
        self._in.owners.coordinator.expel(victim[1].member.name)
        self._in.note("overtaken")

    async def _misread(self) -> None:
        """A member is replaced by one whose words it cannot read, and some gateways hear nothing of owners."""
        if (victim := self._owning_victim()) is None:
            return
        connection, seconds = victim[1].connection, LEASE_S + self._rng.random() * STALL_S
        self._misread_by([connection], seconds)
        if self._rng.random() < 0.7:
            connection.stalls["commands"] = self._in.loop.time() + seconds
        for gateway in self._some_gateways():
            gateway.stalls["owners"] = self._in.loop.time() + seconds
        await asyncio.sleep(self._rng.random())
        self._in.owners.coordinator.expel(victim[1].member.name)

    def _some_gateways(self) -> list[Connection]:
        first, *others = [each.connection for each in self._in.gateways]
        return [first, *(each for each in others if self._rng.random() < 0.5)]

    def _misread_by(self, connections: list[Connection], seconds: float) -> None:
        for each in connections:
            each.misreads_until_s = self._in.loop.time() + seconds
        self._has_misread = True
        self._in.note("leases misread")

    async def _shuffle(self) -> None:
        """Partitions move as soon as they have an owner."""
        for _ in range(self._rng.randint(2, 6)):
            await self._expel()
            await asyncio.sleep(self._rng.random())

    async def _fail_to_follow(self) -> None:
        """The thread of a client ends: whoever follows by it is told at the next record, of one topic or of all."""
        _, connection = self._rng.choice(self._in.machines())
        connection.fails.update(self._rng.choice([FOLLOWED, [self._rng.choice(FOLLOWED)]]))
        self._in.note("a topic cannot be followed")

    async def _fail_to_read(self) -> None:
        _, connection = self._rng.choice(self._in.machines())
        connection.unread_until_s = self._in.loop.time() + self._rng.random() * STALL_S
        self._in.note("the log cannot be read")

    async def _answer_late(self) -> None:
        _, connection = self._rng.choice(self._in.machines())
        connection.answers_late_until_s = self._in.loop.time() + self._rng.random() * STALL_S
        self._in.note("answered late")

    async def _forget(self) -> None:
        """The brokers let go of what is old, though a machine that stood still has not read it."""
        for topic in FORGOTTEN:
            for number in range(next(each.partitions for each in CLUSTER if each.name == topic)):
                self._in.brokers.forget(TopicPartition(topic, number), KEPT_S)
        self._in.note("what is old forgotten")

    async def _lose_end(self) -> None:
        """All brokers lose what they had acknowledged, and had in memory only: of what nobody keeps for ever."""
        topic = self._rng.choice(["commands", "commands", "replies"])
        for number in range(next(each.partitions for each in CLUSTER if each.name == topic)):
            self._in.brokers.lose_end(TopicPartition(topic, number), self._rng.randint(1, 20))
        self._has_lost = True
        self._in.note("end of the log lost")

    async def _skew(self) -> None:
        by_s = self._rng.choice([0.0, 1.0, 40.0, SKEW_MAX_S]) * (self._rng.random() * 2 - 1)
        for whose in self._rng.choice([["log"], ["gateway 0"], ["gateway 1"], ["processors"], CLOCKS]):
            self._in.skews_s[whose] = by_s
        self._in.note("clocks set")
