"""One seeded world: clients against the store, crashes, power cuts, failing disks, a zombie in the log; then the checks.

With three disks the log is on all of them. Then one may break, and be left out, and once in a world one is lost for good.

Each key has one client that writes it (so what a read may return is known) and any client may read it. A value is a number
in the payload; a write whose outcome is unknown may be read or not, until an acknowledged write of the same key follows.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable

from bucketlog.store import DiskNode, Store
from datanode.member import Identity
from datanode.service import Times
from gateway import payload
from gateway.errors import S3Error
from processors.machine.apply import EventOutOfPlace, fold
from processors.memory import MemoryView
from processors.replica import ViewMismatch
from processors.runtime import Fenced
from processors.view import Overlay
from tests.simulation.clock import SetClock
from tests.simulation.disk import SimulatedDisk
from tests.simulation.invariants import (
    CorruptionIsNeverServed,
    NoAcknowledgedWriteIsLost,
    ReadsAreLinearizable,
    RefusalsAreTrue,
    StoreServes,
    StreamIsComplete,
    ViewEqualsReplay,
)
from tests.simulation.loop import Crash, Deadlock, SimulatedLoop
from tests.simulation.table import MemoryTable
from topics import commands, events, spec
from topics.embedded import MANIFEST, EmbeddedLog, mended
from topics.log import Entry, LogError, UnknownRecord
from topics.mirror import MirroredDisk
from topics.objects import Attributes, Extent, Preconditions
from topics.reader import ReaderState
from topics.spec import TopicPartition

COMMANDS, FAULTS = 300, 5
CLIENTS, KEYS_EACH = 4, 3
BUCKETS = ("alpha", "beta")
SEGMENT_BYTES, VOLUME_BYTES = 96 << 10, 256 << 10  # small, so that both roll many times
LIVE_S = 120.0  # of virtual time, far more than a life takes: one that hangs has failed
SLOW_READS, SLOW_READ_S = 0.1, 3.0  # longer than garbage is kept here
START_S = 1_700_000_000.0
ALARMS = (LogError, OSError, S3Error, ViewMismatch, EventOutOfPlace, UnknownRecord, Fenced, Deadlock)  # of the store itself
Value = int | None  # None: no such key


class KeyHistory:
    """What a read of one key may return: the last acknowledged value, or one of an unknown or running write."""

    def __init__(self) -> None:
        self.acknowledged: Value = None
        self.possible: set[Value] = set()

    def allowed(self) -> set[Value]:
        return {self.acknowledged, *self.possible}


class World:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.disks = [SimulatedDisk(self.rng) for _ in range(self.rng.choice([1, 1, 3]))]
        self.lost_at = self.rng.randrange(FAULTS) if len(self.disks) > 1 else None  # the fault with which a disk is lost
        self.replaced = 0
        self.mirror: MirroredDisk | None = None
        self.indexes = [MemoryTable() for _ in self.disks]
        self.views = [MemoryView() for _ in range(spec.EVENTS.partitions)]
        self.now_s = START_S
        self.clock = SetClock(seed)
        self.commands_done = 0
        self.reached: Counter[str] = Counter()
        self.histories = {
            (bucket, client, key): KeyHistory()
            for bucket in BUCKETS
            for client in range(CLIENTS)
            for key in range(KEYS_EACH)
        }
        self.acknowledged_requests: set[str] = set()
        self.seen: dict[int, list[bytes]] = {}  # the subscriber's events by partition
        self.positions: dict[int, tuple[int, ReaderState]] = {}
        self.uploads: dict[str, tuple[str, int, int]] = {}
        self.next_value = 1
        self.next_request = 0
        self.boots = 0
        self.store: Store | None = None

    def run(self) -> None:
        """Raises `InvariantBroken`."""
        for fault in range(FAULTS):
            self._incarnation(COMMANDS // FAULTS * (fault + 1), crash=True)
            if fault == self.lost_at:
                self._lose_disk()
        self._incarnation(COMMANDS, crash=False)
        self.reached["clock set"] = self.clock.steps

    def _incarnation(self, commands_until: int, *, crash: bool) -> None:
        loop = SimulatedLoop(self.rng, self.now_s)
        asyncio.set_event_loop(loop)
        main = loop.create_task(asyncio.wait_for(self._live(loop, commands_until, crash=crash), LIVE_S))
        has_crashed = False
        try:
            loop.run_until_complete(main)
        except Crash:
            has_crashed = True
        except ALARMS as error:
            raise StoreServes(f"{type(error).__name__}: {error}") from error
        finally:
            self.now_s = loop.now_s + self.rng.random() * 2
            self._abandon(loop)
        if has_crashed:
            self.reached["crash"] += 1
            self._after_crash()

    def _after_crash(self) -> None:
        if self.rng.random() < 0.7:
            self.reached["power cut"] += 1
            for disk in self.disks:
                disk.power_cut()
            for table in (*self.indexes, *self.views):
                table.lose_last(self.rng.randrange(4))
        else:
            self.reached["kill"] += 1
        if self.rng.random() < 0.15:
            self.reached["derived data removed"] += 1
            self.indexes = [MemoryTable() for _ in self.disks]
            self.views = [MemoryView() for _ in self.views]

    def _lose_disk(self) -> None:
        """Never the last one that has all of the log; payloads are on two at least."""
        number = self.rng.randrange(len(self.disks))
        assert self.mirror is not None
        if self.mirror.members != [str(number)]:
            self.disks[number], self.indexes[number] = SimulatedDisk(self.rng), MemoryTable()
            self.replaced = number + 1
            self.reached["disk lost"] += 1

    def _abandon(self, loop: SimulatedLoop) -> None:
        """A dead process writes nothing more: what its coroutines do on their way out reaches no disk."""
        for disk in self.disks:
            disk.is_frozen = True
        loop.end()
        for disk in self.disks:
            disk.is_frozen = False

    async def _live(self, loop: SimulatedLoop, commands_until: int, *, crash: bool) -> None:
        if crash and self.rng.random() < 0.3:
            loop.steps_left = self.rng.randrange(150)  # while it still recovers
        for disk in self.disks:
            disk.failures, disk.breaks = 0, False
            disk.when_created = lambda: self._crash_soon(loop) if crash else None
        store = self.store = self._open(lambda: self.clock.now_ms(loop.now_s))
        await store.start()
        await self._check_all(store)
        subscribers = [asyncio.create_task(self._subscribe(store, number)) for number in range(spec.BUCKET_PARTITIONS)]
        faults = asyncio.create_task(self._trouble(store))
        if self.commands_done == 0:
            for bucket in BUCKETS:
                with contextlib.suppress(S3Error):
                    await self._submit(store, commands.CreateBucket(bucket, bucket.ljust(32, "0"), "us-east-1"))
        clients = [asyncio.create_task(self._client(store, number, commands_until)) for number in range(CLIENTS)]
        await asyncio.gather(*clients)
        if crash:
            loop.steps_left = self.rng.randrange(60)
            await asyncio.gather(*(self._client(store, number, commands_until + 60) for number in range(CLIENTS)))
            raise Crash
        faults.cancel()
        for disk in self.disks:
            disk.failures = 0
        await asyncio.sleep(3)  # housekeeping gives back what is garbage
        await self._check_all(store)
        await self._settle(store)
        await self._check_stream(store)
        for task in subscribers:
            task.cancel()
        await store.stop()

    def _crash_soon(self, loop: SimulatedLoop) -> None:
        if self.rng.random() < 0.1:
            loop.steps_left = self.rng.randrange(6)

    def _open(self, clock_ms: Callable[[], int]) -> Store:
        self.boots += 1
        nodes = [
            DiskNode(self._identity(number), disk, index, 1 << 40)
            for number, (disk, index) in enumerate(zip(self.disks, self.indexes, strict=True))
        ]
        return Store(
            self._open_log(clock_ms),
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

    def _open_log(self, clock_ms: Callable[[], int]) -> EmbeddedLog:
        if len(self.disks) == 1:
            return EmbeddedLog(self.disks[0], clock_ms, segment_bytes=SEGMENT_BYTES)
        self.mirror = MirroredDisk({str(number): disk for number, disk in enumerate(self.disks)}, MANIFEST, mended)
        log = EmbeddedLog(self.mirror, clock_ms, segment_bytes=SEGMENT_BYTES)
        self.mirror.admit()
        return log

    # clients

    async def _client(self, store: Store, number: int, commands_until: int) -> None:
        while self.commands_done < commands_until:
            self.commands_done += 1
            bucket, key = self.rng.choice(BUCKETS), self.rng.randrange(KEYS_EACH)
            kind = self.rng.choices(["put", "delete", "read", "multipart", "conditional", "race"], [5, 2, 4, 1, 1, 1])[0]
            if kind == "read":
                owner = self.rng.randrange(CLIENTS)
                await self._read(store, bucket, owner, key)
            else:
                with contextlib.suppress(S3Error, LogError, OSError):
                    write = self._race if kind == "race" else self._write
                    await write(store, kind, bucket, number, key)
            await asyncio.sleep(self.rng.random() * 0.01)

    async def _write(self, store: Store, kind: str, bucket: str, client: int, key: int) -> None:
        history = self.histories[bucket, client, key]
        value: Value = None
        if kind != "delete":
            value, self.next_value = self.next_value, self.next_value + 1
        history.possible.add(value)
        name = f"{client}/{key}"
        try:
            match kind:
                case "delete":
                    await self._submit(store, commands.DeleteObject(bucket, name))
                case "multipart":
                    await self._multipart(store, bucket, name, value or 0)
                case _:
                    wanted = Preconditions(if_none_match="*") if kind == "conditional" else Preconditions()
                    await self._put(store, bucket, name, value or 0, wanted)
        except S3Error as error:
            self.reached[f"{kind} rejected: {error.code}"] += 1
            if error.code == "PreconditionFailed":
                history.possible.discard(value)
                if history.allowed() == {None}:
                    raise ReadsAreLinearizable(f"{bucket}/{name} was there, and never was") from None
            raise
        self.reached[kind] += 1
        history.acknowledged = value
        history.possible.clear()

    async def _race(self, store: Store, kind: str, bucket: str, client: int, key: int) -> None:
        """Two creations of one key at once, each on the condition that it is not there."""
        history = self.histories[bucket, client, key]
        values = [self.next_value, self.next_value + 1]
        self.next_value += 2
        history.possible |= set(values)
        wanted = Preconditions(if_none_match="*")
        puts = (self._put(store, bucket, f"{client}/{key}", value, wanted) for value in values)
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        won = [value for value, outcome in zip(values, outcomes, strict=True) if outcome is None]
        if len(won) == len(values):
            raise ReadsAreLinearizable(f"{bucket}/{client}/{key} was created twice")
        for value, outcome in zip(values, outcomes, strict=True):
            if isinstance(outcome, S3Error) and outcome.code == "PreconditionFailed":
                history.possible.discard(value)
        if won:
            history.acknowledged = won[0]
            history.possible.discard(won[0])
        self.reached[kind] += 1

    async def _put(self, store: Store, bucket: str, name: str, value: int, wanted: Preconditions) -> None:
        data = content(value)
        extents = [await self._payload(store, bucket, data, is_large=value % 7 == 0)]
        body = commands.PutObject(bucket, name, len(data), str(value), extents, None, Attributes(), wanted)
        await self._submit(store, body)

    async def _payload(self, store: Store, bucket: str, data: bytes, *, is_large: bool) -> Extent:
        """By the log, or straight into volumes."""
        partition = spec.bucket_partition(bucket)
        if not is_large:
            return await store.blobs.put(data, partition)
        writer = await store.blobs.create(len(data), partition)
        await writer.write(data)
        return await writer.commit()

    async def _multipart(self, store: Store, bucket: str, name: str, value: int) -> None:
        upload = f"{self.rng.getrandbits(128):032x}"
        await self._submit(store, commands.CreateUpload(bucket, name, upload, "", "FULL_OBJECT", Attributes()))
        data = content(value)
        extents = [await self._payload(store, bucket, data, is_large=value % 3 == 0)]
        etag = f"{value:032x}"
        await self._submit(store, commands.PutPart(bucket, name, upload, 1, len(data), etag, extents, None))
        await self._submit(store, commands.CompleteUpload(bucket, name, upload, [commands.PartName(1, etag)], None))

    async def _submit(self, store: Store, body: commands.Body) -> None:
        self.next_request += 1
        request = f"request-{self.next_request}"
        try:
            reply = await store.commander.submit(request, "root", body)
        except S3Error as error:
            if error.code == "RequestTimeout":  # none takes that long here
                raise RefusalsAreTrue(f"{request} came in time, {self.clock}") from error
            raise
        if not isinstance(body, commands.DeleteObject) or reply.version_id:
            self.acknowledged_requests.add(request)

    async def _read(self, store: Store, bucket: str, client: int, key: int) -> None:
        history = self.histories[bucket, client, key]
        allowed = history.allowed()
        found = await self._value(store, bucket, f"{client}/{key}")
        if found not in allowed | history.allowed():
            raise ReadsAreLinearizable(f"{bucket}/{client}/{key} is {found}, not one of {allowed}")
        self.reached["read"] += 1

    async def _value(self, store: Store, bucket: str, name: str) -> Value:
        read = store.open_reads.begin()
        try:
            row = await store.reads.bucket(bucket)
            found = await store.reads.current(bucket, row, name) if row else None
            if found is None:
                return None
            if self.rng.random() < SLOW_READS:  # it may be replaced meanwhile, and goes on
                await asyncio.sleep(self.rng.random() * SLOW_READ_S)
            chunks = payload.read(store.blobs, found.extents, 0, found.size, lambda: store.open_reads.check(read))
            data = b"".join([chunk async for chunk in chunks])
        except Exception as error:
            raise NoAcknowledgedWriteIsLost(f"{bucket}/{name}: {error}") from error
        finally:
            store.open_reads.end(read)
        value = int.from_bytes(data[:8], "big")
        if data != content(value):
            raise CorruptionIsNeverServed(f"{bucket}/{name}")
        return value

    # trouble

    async def _trouble(self, store: Store) -> None:
        while True:
            await asyncio.sleep(self.rng.random() * 0.3)
            match self.rng.randrange(4):
                case 0:
                    disk = self.rng.choice(self.disks)
                    disk.failures, disk.breaks = 1, len(self.disks) > 1 and self.rng.random() < 0.5
                    self.reached["disk breaks" if disk.breaks else "disk full"] += 1
                case 1 | 2:
                    await self._zombie(store)
                case _:
                    await self._trim(store)

    async def _zombie(self, store: Store) -> None:
        """A late or repeated append of a former owner: an earlier decision again, or a new one under an old epoch."""
        at = TopicPartition("events", spec.bucket_partition(self.rng.choice(BUCKETS)))
        records = await store.log.read(at, await store.log.earliest(at))
        decisions = [each for each in records if not isinstance(events.decode(each.value).event, events.Claimed)]
        if not decisions:
            return
        value = self.rng.choice(decisions).value
        if self.rng.random() < 0.5:
            decision = events.decode(value)
            removed = events.ObjectRemoved(self.rng.choice(BUCKETS), "0/0", "null")
            late = self.rng.choice([0, 1, 2])
            last = events.decode(records[-1].value)
            value = events.encode(
                events.Decision(
                    max(last.epoch - 1, 0), last.sequence + late, decision.cause, decision.time_ms, "z", "z", "", removed
                )
            )
        with contextlib.suppress(LogError):
            await store.log.append(at, [Entry(b"", value)], durable=True)
            self.reached["zombie append"] += 1

    async def _trim(self, store: Store) -> None:
        with contextlib.suppress(LogError, OSError):
            await store.settle()
            self.reached["trim"] += 1

    # checks

    async def _subscribe(self, store: Store, number: int) -> None:
        """A subscriber that keeps its position over the store's crashes."""
        at = TopicPartition("events", number)
        offset, state = self.positions.get(number, (0, ReaderState()))
        async for batch in store.log.follow(at, offset):
            for record in batch:
                accepted = state.accept(events.decode(record.value))
                if accepted is not None:
                    state = accepted
                    self.seen.setdefault(number, []).append(record.value)
                self.positions[number] = (record.offset + 1, state)

    async def _check_all(self, store: Store) -> None:
        for (bucket, client, key), history in self.histories.items():
            name = f"{client}/{key}"
            found = await self._value(store, bucket, name)
            if found not in history.allowed():
                raise NoAcknowledgedWriteIsLost(f"{bucket}/{name} is {found}, not {history.allowed()}")
            row = await store.reads.bucket(bucket)
            listed = (await store.reads.listing(bucket, row, name, "", "", 1)).contents if row else []
            if (found is not None) != bool(listed):
                raise ReadsAreLinearizable(f"listing of {bucket}/{name} disagrees with its GET")

    async def _settle(self, store: Store) -> None:
        """Wait until the subscriber has read what housekeeping wrote last."""
        for number in range(spec.BUCKET_PARTITIONS):
            at = TopicPartition("events", number)
            for _ in range(100):
                if self.positions.get(number, (0, None))[0] >= await store.log.latest(at):
                    break
                await asyncio.sleep(0.001)

    async def _check_stream(self, store: Store) -> None:
        requests: Counter[str] = Counter()
        for number in range(spec.BUCKET_PARTITIONS):
            at = TopicPartition("events", number)
            replay, counted, offset = MemoryView(), [], 0
            while records := await store.log.read(at, offset):
                overlay = Overlay(replay)
                for record in records:
                    if fold(overlay, store.log.identity, record.offset, record.value):
                        counted.append(record.value)
                replay.commit(overlay.changes)
                offset = records[-1].offset + 1
            if replay.rows != self.views[number].rows:
                raise ViewEqualsReplay(f"partition {number}")
            if counted != self.seen.get(number, []):
                raise StreamIsComplete(f"a subscriber of {number} saw something else")
            requests.update(events.decode(each).request_id for each in counted)
        for request in self.acknowledged_requests:
            if requests[request] != 1:
                raise StreamIsComplete(f"{request} is there {requests[request]} times")


def content(value: int) -> bytes:
    """The payload that stands for a value; sizes from 8 bytes to some blocks."""
    size = 8 + (value * 7919) % 3000 if value % 5 else 8 + (value * 7919) % 150_000
    return value.to_bytes(8, "big") + bytes([value % 251]) * (size - 8)
