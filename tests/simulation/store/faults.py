"""What goes wrong in one process on its disks: while it lives, at the end of a life, and behind that.

Of several disks only one may lose what it had promised to keep: the log is on two more, and each payload on one at least.
"""

import asyncio
import contextlib
import errno
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from bucketlog.store import Store
from datanode.space import Space
from tests.disks.faulty import FaultyDisk
from tests.simulation.disk import SimulatedDisk
from tests.simulation.loop import SimulatedLoop
from tests.simulation.plan import Fault, drawn, one, swarm
from tests.simulation.store.clients import BUCKETS
from tests.simulation.store.histories import Histories
from topics import events, spec
from topics.log import Entry, LogError
from topics.spec import TopicPartition

TROUBLE = {
    "full_once": 1.0,
    "full_for_a_while": 0.7,
    "zombie": 2.0,
    "trim": 1.0,
    "below_reserve": 0.3,
    "slow": 0.5,
    "hang": 0.3,
    "sync_fails": 0.7,
}
TROUBLE_OF_SEVERAL = {"error_once": 1.0}
ENDS = {"crash": 7.0, "crash_at_start": 3.0, "crash_at_a_new_file": 3.0, "crash_when_settled": 3.0, "stop": 1.0}
POWER_CUT, DERIVED_REMOVED = 0.7, 0.15  # shares of the ends of lives
HANGS_AT_START = 0.1  # of lives
BETWEEN_S = 0.15
FAULTS_MAX = 60  # in one life, on average
OPERATIONS = 30  # at most, until the one of a disk that fails
NAP_S = 1.0
FULL_S = 15.0
HANGS_S = (0.5, 30.0)  # about: shorter and longer than the log waits for a disk
HANGS_IN_START = 60  # calls at most, until the one that hangs
STEPS, STEPS_AT_START, STEPS_AT_A_NEW_FILE, STEPS_WHEN_SETTLED = 60, 150, 6, 8


def planned(rng: random.Random, lives_s: Sequence[float], disks: int) -> list[Fault]:
    """`lives_s`: how long each life takes, about. The last one is calm."""
    kinds = swarm(rng, TROUBLE | (TROUBLE_OF_SEVERAL if disks > 1 else {}))
    lost_in = rng.randrange(len(lives_s)) if disks > 1 else None
    found: list[Fault] = []
    for life, life_s in enumerate(lives_s):
        between_s = max(BETWEEN_S, life_s / FAULTS_MAX)
        found += drawn(rng, life, kinds, life_s, lambda between_s=between_s: rng.expovariate(1 / between_s))  # type: ignore[misc]
        [end] = rng.choices(list(ENDS), list(ENDS.values()))
        if end != "stop":
            found.append(one(rng, life, end))
        if rng.random() < POWER_CUT:
            found.append(one(rng, life, "power_cut"))
        if rng.random() < HANGS_AT_START:
            found.append(one(rng, life, "hang_at_start"))
        if rng.random() < DERIVED_REMOVED:
            found.append(one(rng, life, "derived_removed"))
        if life == lost_in:
            found.append(one(rng, life, "disk_lost"))
    return found


class Machine(Protocol):
    """What faults need of the world."""

    disks: list[SimulatedDisk]
    faulty: list[FaultyDisk]
    histories: Histories

    def note(self, what: str) -> None: ...


class Trouble:
    """While a store lives."""

    def __init__(self, machine: Machine, store: Store) -> None:
        self._in = machine
        self._store = store
        self._rng = random.Random()
        for disk in machine.faulty:
            disk.when_raised = self._note_anew

    async def befall(self, fault: Fault) -> None:
        self._rng = fault.choices()
        await getattr(self, fault.kind)()

    async def full_once(self) -> None:
        self._fail_once(errno.ENOSPC)
        self._in.note("disk full once")

    async def error_once(self) -> None:
        self._fail_once(errno.EIO)
        self._in.note("disk failed once")

    def _fail_once(self, number: int) -> None:
        disk = self._rng.choice(self._in.faulty)
        disk.left, disk.left_errno = self._rng.randrange(OPERATIONS), number

    async def sync_fails(self) -> None:
        """The next one of a volume: what it was to cover is lost, and the disk is well."""
        disk = self._rng.choice(self._in.faulty)
        disk.sync_errno = self._rng.choice([errno.EIO, errno.ENOSPC])

    def _note_anew(self, _: int = 0) -> None:
        """That disks are full may have to be said once more: the log has failed, or its owner has."""
        if self._in.histories.full_since_s is not None:
            self._in.histories.full_since_s = asyncio.get_running_loop().time()

    async def full_for_a_while(self) -> None:
        disk = self._rng.choice(self._in.faulty)
        disk.room_bytes = self._rng.randrange(200_000)
        self._in.histories.full_since_s = None  # it has room again before the others

        def has_room() -> None:
            disk.room_bytes = self._in.histories.full_since_s = None  # whoever filled it, and the others, meanwhile

        self._later(has_room)
        self._in.note("disk full for a while")

    async def below_reserve(self) -> None:
        """Somebody else fills all disks up to what is kept for the log, which goes on."""
        histories, disks = self._in.histories, list(self._in.faulty)
        if any(disk.room_bytes is not None or disk.hangs or disk.hangs_after is not None for disk in disks):
            return
        for disk in disks:
            disk.room_bytes = Space(disk).reserve_bytes // 2
        histories.full_since_s = asyncio.get_running_loop().time()

        def has_room() -> None:
            histories.full_since_s = None
            for disk in disks:
                disk.room_bytes = None

        asyncio.get_running_loop().call_later(FULL_S * (0.5 + self._rng.random() / 2), has_room)
        self._in.note("disks below their reserve")

    async def slow(self) -> None:
        disk = self._rng.choice(self._in.faulty)
        disk.slow_s = self._rng.random() * 0.3
        self._later(lambda: setattr(disk, "slow_s", 0.0))
        self._in.note("disk slow")

    async def hang(self) -> None:
        disk = self._rng.choice(self._in.faulty)
        disk.hang()
        self._in.histories.full_since_s = None  # nobody can note it in the log
        self._later(disk.go_on, 2 * self._rng.choice(HANGS_S))
        self._in.note("disk hangs")

    def _later(self, call: Callable[[], None], within_s: float = NAP_S) -> None:
        asyncio.get_running_loop().call_later(self._rng.random() * within_s, call)

    async def zombie(self) -> None:
        """A late or repeated append of a former owner: an earlier decision again, or a new one under an old epoch."""
        self._note_anew()
        log, at = self._store.log, TopicPartition("events", spec.bucket_partition(self._rng.choice(BUCKETS)))
        with contextlib.suppress(LogError, OSError):
            records = await log.read(at, max(await log.earliest(at), await log.latest(at) - 1_000))
            decisions = [each for each in records if not isinstance(events.decode(each.value).event, events.Claimed)]
            if not decisions:
                return
            value = self._rng.choice(decisions).value
            if self._rng.random() < 0.5:
                decision = events.decode(value)
                removed = events.ObjectRemoved(self._rng.choice(BUCKETS), "0/0", "null")
                last, late = events.decode(records[-1].value), self._rng.choice([0, 1, 2])
                epoch, sequence = max(last.epoch - 1, 0), last.sequence + late
                void = events.Decision(epoch, sequence, decision.cause, decision.time_ms, "z", "z", "", removed)
                value = events.encode(void)
            await log.append(at, [Entry(b"", value)], durable=True)
            self._in.note("zombie append")

    async def trim(self) -> None:
        with contextlib.suppress(LogError, OSError):
            await self._store.settle()
            self._in.note("trim")


def hang_at_start(fault: Fault, loop: asyncio.AbstractEventLoop, disks: Sequence[FaultyDisk]) -> None:
    """One of them, at any call of the log."""
    rng = fault.choices()
    disk = rng.choice(disks)
    disk.hangs_after = rng.randrange(HANGS_IN_START)
    loop.call_later(rng.random() * 2 * rng.choice(HANGS_S), disk.go_on)


def arm(fault: Fault, loop: SimulatedLoop, disks: Sequence[SimulatedDisk], *, at_start: bool) -> None:
    """Ends the life, now or soon: `at_start` of it, or when its commands are done."""
    rng = fault.choices()
    match fault.kind:
        case "crash_at_start" if at_start:
            loop.steps_left = rng.randrange(STEPS_AT_START)
        case "crash_at_a_new_file" if at_start:

            def created(path: str) -> None:
                del path
                if rng.random() < 0.1:
                    loop.steps_left = rng.randrange(STEPS_AT_A_NEW_FILE)

            for disk in disks:
                disk.when_created = created
        case "crash_when_settled" if not at_start:
            loop.steps_left = rng.randrange(STEPS_WHEN_SETTLED)
        case _ if not at_start:
            loop.steps_left = rng.randrange(STEPS)
