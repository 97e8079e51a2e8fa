"""One seeded world: clients against the store, crashes, power cuts, failing disks, a zombie in the log; then the checks.

A life is a process from its start to its end. Lives are of very different lengths: some end while they recover, some last
so long that all that is done once a second, or in idle time, is done many times. With three disks the log is on all of
them; then one may be left out, and once in a world one is lost for good. The last life is calm: what must hold when
faults have ended is asked there.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytest

from bucketlog.store import DiskNode, Store
from datanode import compaction
from datanode.compaction import Compactor
from datanode.member import Identity
from datanode.service import Times
from gateway.errors import S3Error
from processors import releases
from processors.machine import apply, complete, decide, tables
from processors.machine.apply import EventOutOfPlace
from processors.replica import ViewMismatch
from processors.runtime import Fenced
from tests.disks.faulty import OF_THE_VOLUMES, FaultyDisk
from tests.simulation.clock import SetClock
from tests.simulation.disk import SimulatedDisk
from tests.simulation.invariants import (
    CorruptionIsNeverServed,
    LogIsTrimmed,
    LogKeepsWhatItTook,
    MembersHaveAll,
    NobodyStandsStill,
    PositionsAreInTheLog,
    Progress,
    StoreServes,
    StreamIsComplete,
    ViewIsReadLittle,
)
from tests.simulation.loop import Crash, Deadlock, SimulatedLoop
from tests.simulation.oracle import Oracle
from tests.simulation.outside import nothing_from_outside
from tests.simulation.plan import Fault, carry_out
from tests.simulation.releases import REFUSAL, run_releases
from tests.simulation.scratch import ScratchBucket
from tests.simulation.store.clients import BUCKETS, CLIENTS, FAILURES, Client, check_last
from tests.simulation.store.faults import ENDS, Trouble, arm, hang_at_start, planned
from tests.simulation.store.histories import Histories
from tests.simulation.store.metered import MeteredView, count_folds, metered
from tests.simulation.store.promises import Promises
from tests.simulation.table import MemoryTable
from topics import archive, events, spec
from topics.disk import Disk
from topics.embedded import MANIFEST, EmbeddedLog, mended
from topics.log import LogError, Record, UnknownRecord
from topics.log_disk import OneDisk
from topics.mirror import MirroredDisk
from topics.placement import Placement
from topics.reader import ReaderState
from topics.spec import TopicPartition

LIVES = (3, 7)
COMMANDS, COMMANDS_SHARES = (5, 30, 60, 200, 1_000, 4_000), (3, 4, 10, 4, 0.4, 0.06)
THINK_S, THINK_SHARES = (0.01, 0.1, 1.0), (6, 2, 1)
COMMAND_S = 0.006  # that a command takes
SEGMENT_BYTES, VOLUME_BYTES = 96 << 10, 256 << 10  # small, so that both roll many times
ARCHIVE_BYTES = 16 << 10
LARGE_BYTES = 32 << 10  # for compaction
STEP_BLOBS, ROWS_AT_ONCE = 10, 4  # so that work which grows with a backlog shows
LIVE_S = 600.0  # beyond what its commands need: a life that lasts longer hangs
PROGRESS_S, CALM_S = 10.0, 3.0
TRIMMED_S = 30.0
HEALTH_EVERY_S = 5.0
AUDIT_SHARE = 0.02  # of pauses in a client's work
START_S = 1_700_000_000.0
ALARMS = (LogError, OSError, S3Error, ViewMismatch, EventOutOfPlace, UnknownRecord, Fenced, Deadlock)  # of the store itself


class World:
    def __init__(self, seed: int, faults: Sequence[Fault] | None = None) -> None:
        self._seed = seed
        self.rng = random.Random(seed)
        self.disks = [SimulatedDisk(self.rng) for _ in range(self.rng.choice([1, 1, 3]))]
        shape = random.Random(f"lives {seed}")
        lives = shape.randint(*LIVES)
        self.commands = shape.choices(COMMANDS, COMMANDS_SHARES, k=lives)
        self.think_s = shape.choices(THINK_S, THINK_SHARES, k=lives)
        lives_s = [
            count / CLIENTS * (think_s / 2 + COMMAND_S) for count, think_s in zip(self.commands, self.think_s, strict=True)
        ]
        self.faults = planned(shape, lives_s, len(self.disks)) if faults is None else list(faults)
        self.lives_s = lives_s
        self.faulty: list[FaultyDisk] = []
        self.replaced = 0
        self.mirror: MirroredDisk | None = None
        self.indexes = [MemoryTable() for _ in self.disks]
        self.views = [MeteredView() for _ in range(spec.EVENTS.partitions)]
        self.now_s = START_S
        self.clock = SetClock(seed)
        self.histories = Histories()
        self.histories.scratch = {f"scratch-{number}": ScratchBucket() for number in range(CLIENTS)}
        self.reached: Counter[str] = self.histories.reached
        self.oracles = {number: Oracle(number) for number in range(spec.BUCKET_PARTITIONS)}
        self.seen: dict[int, list[bytes]] = {number: [] for number in self.oracles}  # by subscribers
        self.positions: dict[int, tuple[int, ReaderState]] = {}
        self.read_too_much: list[str] = []
        self.releases = shape.choice([1, 1, 2])  # which take turns
        self._release = 0
        self.placement = Placement()  # the newest that a life left
        self.boots = 0

    def run(self) -> None:
        """Raises `InvariantBroken`."""
        with nothing_from_outside(self._seed, self._time):
            self._run()

    def _run(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(complete, "PART_BYTES_MIN", 1)
            patch.setattr(compaction, "SMALL_BYTES", LARGE_BYTES)
            patch.setattr(archive, "FILE_BYTES", ARCHIVE_BYTES)
            patch.setattr(releases, "STEP_BLOBS_MAX", STEP_BLOBS)
            patch.setattr(apply, "ROWS_AT_ONCE_MAX", ROWS_AT_ONCE)
            patch.setattr(decide, "PARTS_DISCARDED_MAX", ROWS_AT_ONCE)
            count_folds(patch)
            self._count(patch, Compactor, "_copy_small", "compaction of small blobs")
            self._count(patch, Compactor, "_copy_large", "compaction of a large blob")
            for life in [*range(len(self.commands)), None]:
                with pytest.MonkeyPatch.context() as installed:
                    self._release = self.rng.randrange(self.releases)
                    run_releases(installed, lambda: self._release)
                    self._live(life)
        self.reached["clock set"] = self.clock.steps

    def remains(self) -> Iterator[bytes]:
        """What is on its disks."""
        for disk in self.disks:
            yield from disk.contents()

    @property
    def _refusals(self) -> set[str]:
        return {REFUSAL} if self.releases > 1 else set()

    def note(self, what: str) -> None:
        self.reached[what] += 1

    def _count(self, patch: pytest.MonkeyPatch, owner: type, name: str, what: str) -> None:
        """How often that is done to its end."""
        honest = getattr(owner, name)

        async def counted(*arguments: Any) -> Any:
            done = await honest(*arguments)
            self.note(what)
            return done

        patch.setattr(owner, name, counted)

    # lives

    def _live(self, life: int | None) -> None:
        """None: the last, calm one."""
        faults = [each for each in self.faults if each.act == life]
        end = next((each for each in faults if each.kind in ENDS), None)
        loop = SimulatedLoop(self.rng, self.now_s)
        asyncio.set_event_loop(loop)
        work = self._calm_life(loop) if life is None else self._life(loop, life, faults, end)
        main = loop.create_task(asyncio.wait_for(work, LIVE_S + (0 if life is None else 4 * self.lives_s[life])))
        try:
            loop.run_until_complete(main)
        except Crash:
            self.note("crash")
        except ALARMS as error:
            raise StoreServes(f"{type(error).__name__}: {error}") from error
        finally:
            self.now_s = loop.now_s + self.rng.random() * 2
            self._abandon(loop)
        self.reached["sync failed"] += sum(disk.syncs_failed for disk in self.faulty)
        for disk in self.faulty:
            if disk.stood_still:
                raise NobodyStandsStill(f"called on the loop while the disk hung: {disk.stood_still[0]}")
        placement = tables.placement(self.views[spec.CONTROL_PARTITION])  # behind the log, if the life was short
        self.placement = max(self.placement, placement, key=lambda each: each.epoch)
        for fault in faults:
            self._befall(fault)

    def _abandon(self, loop: SimulatedLoop) -> None:
        """A dead process writes nothing more: what its coroutines do on their way out reaches no disk."""
        self._freeze(is_frozen=True)
        loop.end()
        self._freeze(is_frozen=False)

    def _freeze(self, *, is_frozen: bool) -> None:
        for disk, index in zip(self.disks, self.indexes, strict=True):
            disk.is_frozen = index.is_frozen = is_frozen

    def _befall(self, fault: Fault) -> None:
        """What comes between two lives."""
        rng = fault.choices()
        match fault.kind:
            case "power_cut":
                for disk in self.disks:
                    disk.power_cut()
                for table in (*self.indexes, *self.views):
                    table.lose_last(rng.randrange(4))
            case "derived_removed":
                self.indexes = [MemoryTable() for _ in self.disks]
                self.views = [MeteredView() for _ in self.views]
            case "disk_lost":
                self._lose_disk(rng.randrange(len(self.disks)))
            case _:
                return
        self.note(fault.kind)

    def _lose_disk(self, number: int) -> None:
        """Never the last one that has all of the log, or all of a group's payloads."""
        if self.mirror is not None and self.mirror.members != [str(number)] and not self._holds_alone(number):
            self.disks[number], self.indexes[number] = SimulatedDisk(self.rng), MemoryTable()
            self.replaced = number + 1

    def _holds_alone(self, number: int) -> bool:
        """Or may, for all that is known."""
        name, groups = self._identity(number).name, self.placement.groups
        return not groups or any(set(group.holders or ()) == {name} for group in groups)

    async def _life(self, loop: SimulatedLoop, life: int, faults: Sequence[Fault], end: Fault | None) -> None:
        for disk in self.disks:
            disk.when_created, disk.when_removed = self._created, self._removed
        if end is not None:
            arm(end, loop, self.disks, at_start=True)
        store, subscribers = await self._start(loop, [each for each in faults if each.kind == "hang_at_start"])
        trouble = asyncio.create_task(
            carry_out((each for each in faults if hasattr(Trouble, each.kind)), Trouble(self, store).befall)
        )
        clients = [Client(number, store, self.histories, self.rng, self._refusals) for number in range(CLIENTS)]
        with contextlib.suppress(*FAILURES):
            await clients[0].make_buckets()
        until = self.histories.commands + self.commands[life]
        think_s = self.think_s[life]
        at_work = asyncio.gather(self._audits(store, until), *(each.run(until, think_s) for each in clients))
        supervisor = asyncio.create_task(self._needs_restart(store))
        waited_for: set[asyncio.Future[Any]] = {at_work, supervisor}
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        if not at_work.done():
            raise Crash
        at_work.result()
        if end is not None:
            pause_s = 0.001 if end.kind == "crash_when_settled" else think_s
            more = asyncio.gather(*(each.run(until + 60, pause_s) for each in clients))
            if end.kind == "crash_when_settled":
                await self._settle_at_work(store)
            arm(end, loop, self.disks, at_start=False)
            await more
            raise Crash
        if trouble.done():
            trouble.result()
        trouble.cancel()
        await self._stop(store, subscribers)

    async def _calm_life(self, loop: SimulatedLoop) -> None:
        for disk in self.disks:
            disk.when_created, disk.when_removed = self._created, self._removed
        store, subscribers = await self._start(loop)
        await self._makes_progress(store)
        await asyncio.sleep(CALM_S)  # housekeeping gives back what is garbage
        await self._is_trimmed(store)
        await self._caught_up(store)
        await self._audit(store)
        await self._check_stream(store)
        await self._mends_its_log(store)
        kept = await self._trims_events(store)
        await self._stop(store, subscribers)
        await self._are_kept(loop, kept)

    async def _start(self, loop: SimulatedLoop, hangs: Sequence[Fault] = ()) -> tuple[Store, list[asyncio.Task[None]]]:
        self.faulty = [FaultyDisk(disk) for disk in self.disks]
        self.histories.full_since_s = None
        for fault in hangs:
            hang_at_start(fault, loop, self.faulty)
            self.note("disk hangs at start")
        store = await self._open(partial(self._clock_ms, loop))
        for disk in self.faulty:  # which are opened on the loop
            disk.stood_still = [what for what in disk.stood_still if OF_THE_VOLUMES not in what]
        for runtime, view in zip(store.runtimes.values(), self.views, strict=True):
            metered(runtime, view, self.read_too_much)
        self.promises = Promises(store.log)
        await self._check_positions(store)
        await store.start()
        await self._audit(store)
        for key in self.histories.keys:
            await check_last(store, self.histories, key)
        return store, [asyncio.create_task(self._subscribe(store, number)) for number in self.oracles]

    async def _settle_at_work(self, store: Store) -> None:
        """Positions are stored while payloads are on their way."""
        await asyncio.sleep(self.rng.random() * 0.01)
        with contextlib.suppress(LogError, OSError):
            await store.settle()

    async def _needs_restart(self, store: Store) -> None:
        """As who asks /healthz does."""
        while not store.health.needs_restart():
            await asyncio.sleep(HEALTH_EVERY_S)
        self.note("restarted by its supervisor")

    async def _stop(self, store: Store, subscribers: Sequence[asyncio.Task[None]]) -> None:
        for disk in self.faulty:
            disk.heal()
        for task in subscribers:
            task.cancel()
        await store.stop()

    def _time(self) -> float:
        loop = asyncio._get_running_loop()
        return self.now_s if loop is None else loop.time()

    def _clock_ms(self, loop: SimulatedLoop) -> int:
        return self.clock.now_ms(loop.now_s)

    def _created(self, path: str) -> None:
        kind = path.partition("/")[0]
        self.note(f"file made: {kind}")

    def _removed(self, path: str) -> None:
        kind = path.partition("/")[0]
        self.note(f"file removed: {kind}")

    async def _open(self, clock_ms: Callable[[], int]) -> Store:
        self.boots += 1
        log = await self._open_log(clock_ms)
        nodes = [
            DiskNode(self._identity(number), disk, index, 1 << 40)
            for number, (disk, index) in enumerate(zip(self.faulty, self.indexes, strict=True))
        ]
        return Store(
            log,
            nodes,
            self.views,
            clock_ms,
            volume_bytes=VOLUME_BYTES,
            release_after_s=0.5,
            times=Times(compact_every_s=0.2),
            rng=self.rng,
            new_blob=lambda: self.rng.randbytes(16),
        )

    def _identity(self, number: int) -> Identity:
        """An emptied folder is another node."""
        name = f"spare{number}" if self.replaced == number + 1 else f"disk{number}"
        return Identity(name, f"i-{name}", f"b{self.boots}")

    async def _open_log(self, clock_ms: Callable[[], int]) -> EmbeddedLog:
        if len(self.faulty) == 1:
            return await EmbeddedLog.open(OneDisk(self.faulty[0]), clock_ms, segment_bytes=SEGMENT_BYTES)
        disks: dict[str, Disk] = {str(number): disk for number, disk in enumerate(self.faulty)}
        self.mirror = await MirroredDisk.open_all(disks, MANIFEST, mended)
        log = await EmbeddedLog.open(self.mirror, clock_ms, segment_bytes=SEGMENT_BYTES)
        await self.mirror.admit()
        for name in self.mirror.members:
            if unsynced := self.disks[int(name)].unsynced_names("journal"):
                raise MembersHaveAll(f"a power cut may take {sorted(unsynced)} from disk {name}")
        return log

    # what must hold

    async def _subscribe(self, store: Store, number: int) -> None:
        """A subscriber that keeps its position over the store's lives."""
        at = TopicPartition("events", number)
        offset, state = self.positions.get(number, (0, ReaderState()))
        async for batch in store.log.follow(at, offset):
            for record in batch:
                accepted = state.accept(events.decode(record.value))
                if accepted is not None:
                    state = accepted
                    self.seen[number].append(record.value)
                self.positions[number] = (record.offset + 1, state)

    async def _audits(self, store: Store, commands_until: int) -> None:
        """At any time a view is what a fold of the events gives, and a subscriber has seen nothing else."""
        while self.histories.commands < commands_until:
            await asyncio.sleep(self.rng.random() * 0.5)
            with contextlib.suppress(LogError, OSError):
                await self._audit(store)

    async def _audit(self, store: Store) -> None:
        if self.read_too_much:
            raise ViewIsReadLittle(self.read_too_much[0])
        for number, oracle in self.oracles.items():
            await oracle.check_view(store.log, self.views[number])
            oracle.check_seen(self.seen[number])
        await self.promises.check()
        self.note("audit")

    async def _check_positions(self, store: Store) -> None:
        """At a start, before anything is appended."""
        for name, node in store.nodes.items():
            for group in node.store.groups():
                stored, latest = node.store.position(group) or 0, await store.log.latest(TopicPartition("writes", group))
                if stored > latest:
                    raise PositionsAreInTheLog(f"{name} has group {group} up to {stored}, its log ends at {latest}")

    async def _makes_progress(self, store: Store) -> None:
        """Every bucket takes a write, and gives what it has."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + PROGRESS_S
        client = Client(0, store, self.histories, self.rng, self._refusals)
        for bucket in BUCKETS:
            while True:
                try:
                    await client.make_buckets()
                    await client.put((bucket, "0/0"))
                    break
                except FAILURES as error:
                    if loop.time() > until_s:
                        raise Progress(f"{bucket} takes no write {PROGRESS_S} s after all was well: {error!r}") from error
                    await asyncio.sleep(0.2)
        for key in self.histories.keys:
            await check_last(store, self.histories, key)

    async def _is_trimmed(self, store: Store) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + TRIMMED_S
        kept = [
            TopicPartition(each.name, number)
            for each in spec.ALL
            if each.name in ("commands", "writes")
            for number in range(each.partitions)
        ]
        while left := [at for at in kept if await store.log.earliest(at) < await store.log.latest(at)]:
            if loop.time() > until_s:
                raise LogIsTrimmed(f"{TRIMMED_S} s after the last write {left} are kept")
            await asyncio.sleep(0.5)

    async def _mends_its_log(self, store: Store) -> None:
        """Bits that flip on one disk after the other are set right by a scrub."""
        members = self.mirror.members if self.mirror is not None else []
        for name in members if len(members) > 1 else []:
            path = self.rng.choice(store.log.files() or [""])
            if not path or not await store.log.check(path):
                continue
            file = self.disks[int(name)].files(path.rpartition("/")[0])[path]
            at = self.rng.randrange(50)  # in the first frame
            before = file.data[at]
            file.flip(at, 1 << self.rng.randrange(8))
            await store.log_scrub.scrub()
            if file.data[at] != before or store.log_scrub.damaged:
                raise CorruptionIsNeverServed(f"{path} is not mended on disk {name}: {store.log_scrub.damaged}")
            self.note("log scrubbed")

    async def _trims_events(self, store: Store) -> dict[TopicPartition, list[Record]]:
        """An operator wants the last ones only, which are returned."""
        kept: dict[TopicPartition, list[Record]] = {}
        for number in self.oracles:
            at = TopicPartition("events", number)
            before = self.rng.randrange(await store.log.latest(at) + 1)
            kept[at] = [each for each in await _all_records(store.log, at) if each.offset >= before]
            await store.log.trim(at, before)
        return kept

    async def _are_kept(self, loop: SimulatedLoop, kept: Mapping[TopicPartition, list[Record]]) -> None:
        """By a new process; it may have some that were trimmed, too."""
        log = await self._open_log(partial(self._clock_ms, loop))
        for at, records in kept.items():
            found = await _all_records(log, at)
            if found[len(found) - len(records) :] != records:
                raise LogKeepsWhatItTook(f"{at} has other records than before a trim")
        await log.close()

    async def _caught_up(self, store: Store) -> None:
        """Wait until the subscribers have read what housekeeping wrote last."""
        for number in self.oracles:
            at = TopicPartition("events", number)
            for _ in range(100):
                if self.positions.get(number, (0, None))[0] >= await store.log.latest(at):
                    break
                await asyncio.sleep(0.001)

    async def _check_stream(self, store: Store) -> None:
        """By a fresh fold of all there is."""
        requests: Counter[str] = Counter()
        for number, oracle in self.oracles.items():
            fresh = await oracle.whole(store.log)
            await fresh.check_view(store.log, self.views[number])
            if fresh.counted != self.seen[number]:
                raise StreamIsComplete(f"a subscriber of {number} saw something else")
            self.reached.update(f"event: {type(events.decode(each).event).__name__}" for each in fresh.counted)
            requests.update(events.decode(each).request_id for each in fresh.counted)
        for request in self.histories.acknowledged:
            if requests[request] != 1:
                raise StreamIsComplete(f"{request} is there {requests[request]} times")


async def _all_records(log: EmbeddedLog, at: TopicPartition) -> list[Record]:
    found: list[Record] = []
    offset = await log.earliest(at)
    while records := await log.read(at, offset):
        found += records
        offset = records[-1].offset + 1
    return found
