"""The contract of the `Log` port, over every adapter."""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tests.disks.faulty import FaultyDisk
from tests.kafka.broker import remove_topics
from tests.simulation.cluster.broker import Connection, Fate, Weather
from tests.simulation.cluster.processes import ClusterLoop, Process
from topics.disk import Disk, OsDisk
from topics.embedded import MANIFEST, EmbeddedLog, mended
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import KafkaConfig
from topics.log import VALUE_BYTES_MAX, Entry, Log, LogError, OffsetTrimmed, Record, RecordTooLarge
from topics.log_disk import OneDisk
from topics.memory import MemoryLog
from topics.mirror import MirroredDisk
from topics.spec import TopicPartition, TopicSpec, Visible

AT = TopicPartition("commands", 1)
DURABLE_AT = TopicPartition("events", 0)
SPECS = (TopicSpec("commands", 2, Visible.APPENDED, kept=False), TopicSpec("events", 2, Visible.DURABLE, kept=True))
GROWING = TopicSpec("writes", 2, Visible.APPENDED, kept=False, grows=True)
Case = Callable[["Harness"], Awaitable[None]]


class FailingOnce(Weather):
    fails_next = False

    def fate(self) -> Fate:
        fails, self.fails_next = self.fails_next, False
        return Fate.FAILS if fails else super().fate()


class Harness:
    """Opens a log, and opens it again as a new process would find it."""

    def __init__(self, kind: str, root: Path, bootstrap: str = "") -> None:
        self.kind = kind
        self._root = root
        self._kafka = KafkaConfig(bootstrap, f"t{uuid.uuid4().hex[:8]}-", replication=1, min_in_sync=1)
        self._open: list[KafkaLog] = []
        self.now_ms = 1
        self._memory = MemoryLog("memory", self._clock_ms)
        self._disks: list[FaultyDisk] = []
        self._weather = FailingOnce(random.Random(0), lambda what: None)

    async def open(self) -> Log:
        if self.kind == "memory":
            return self._memory
        if self.kind == "simulated":
            loop = asyncio.get_running_loop()
            assert isinstance(loop, ClusterLoop)
            return Connection(self._memory, Process(loop, 0.0), self._weather)
        if self.kind == "kafka":
            self._open.append(await KafkaLog.open(self._kafka))
            return self._open[-1]
        self._disks.append(FaultyDisk(OsDisk(self._root / "0")))
        if self.kind == "embedded":
            return await EmbeddedLog.open(OneDisk(self._disks[-1]), self._clock_ms, segment_bytes=20_000)
        disks: dict[str, Disk] = {"whole": OsDisk(self._root / "1"), "full": self._disks[-1]}
        mirror = await MirroredDisk.open_all(disks, MANIFEST, mended)
        log = await EmbeddedLog.open(mirror, self._clock_ms, segment_bytes=20_000)
        await mirror.admit()
        return log

    def _clock_ms(self) -> int:
        return self.now_ms

    async def reopen(self, log: Log) -> Log:
        if isinstance(log, EmbeddedLog):
            await log.close()
        return await self.open()

    def fail_next(self) -> None:
        """Make the next durable append fail."""
        if self.kind == "memory":
            self._memory.fail_next = 1
        elif self.kind == "simulated":
            self._weather.fails_next = True
        else:
            self._disks[-1].left = 0

    async def close(self) -> None:
        for log in self._open:
            await log.close()
        if self._open:
            remove_topics(self._kafka.bootstrap, self._kafka.prefix)
        for disk in self._disks:
            disk.close()


async def reads_back_in_order(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics(SPECS)
    first = await log.append(AT, [Entry(b"k", b"a"), Entry(b"", b"")], durable=False)
    second = await log.append(AT, [Entry(b"k", b"c")], durable=True)
    assert first + second == [0, 1, 2]
    log = await harness.reopen(log)
    records = await log.read(AT, 0)
    assert [(each.offset, each.key, each.value) for each in records] == [
        (0, b"k", b"a"),
        (1, b"", b""),
        (2, b"k", b"c"),
    ]
    assert [each.offset for each in await log.read(AT, 1, records_max=1)] == [1]
    assert await log.read(AT, 3) == []
    assert (await log.earliest(AT), await log.latest(AT)) == (0, 3)
    assert await log.read(TopicPartition("commands", 0), 0) == []


async def shows_durable_topics_only_when_synced(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics(SPECS)
    await log.append(DURABLE_AT, [Entry(b"", b"a")], durable=False)
    if harness.kind not in ("kafka", "simulated"):  # there each append is durable when it returns
        assert (await log.latest(DURABLE_AT), await log.read(DURABLE_AT, 0)) == (0, [])
    await log.append(AT, [Entry(b"", b"b")], durable=True)
    assert [each.value for each in await log.read(DURABLE_AT, 0)] == [b"a"]
    await log.append(DURABLE_AT, [Entry(b"", b"c")], durable=False)
    assert await log.append(AT, [], durable=True) == []
    assert [each.value for each in await log.read(DURABLE_AT, 0)] == [b"a", b"c"]


async def follows(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics(SPECS)
    await log.append(DURABLE_AT, [Entry(b"", b"0")], durable=True)
    stream = log.follow(DURABLE_AT, 0)
    assert [each.value for each in await anext(stream)] == [b"0"]
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    assert not waiting.done()
    await log.append(DURABLE_AT, [Entry(b"", b"1")], durable=True)
    assert [each.value for each in await waiting] == [b"1"]


async def keeps_offsets_after_trimming_everything(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics(SPECS)
    for _ in range(40):  # several segments of the embedded journal
        await log.append(AT, [Entry(b"", bytes(1000))], durable=True)
    await log.trim(AT, 40)
    await log.trim(AT, 20)  # never goes back
    assert (await log.earliest(AT), await log.latest(AT), await log.read(AT, 40)) == (40, 40, [])
    with pytest.raises(OffsetTrimmed):
        await log.read(AT, 39)
    for _ in range(40):  # roll, so that the trimmed segments go
        await log.append(DURABLE_AT, [Entry(b"", bytes(1000))], durable=True)
    log = await harness.reopen(log)
    assert await log.append(AT, [Entry(b"", b"next")], durable=True) == [40]
    assert await log.earliest(AT) == 40


async def keeps_kept_records_through_rolls(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics(SPECS)
    for number in range(100):
        await log.append(DURABLE_AT, [Entry(b"", str(number).encode() + bytes(1000))], durable=True)
        await log.append(AT, [Entry(b"", b"x")], durable=False)
    await log.trim(AT, 100)
    for opened in (log, await harness.reopen(log)):
        found: list[int] = []
        while batch := await opened.read(DURABLE_AT, len(found)):
            found += [int(each.value.rstrip(bytes(1))) for each in batch]
        assert found == list(range(100))


async def refuses_what_is_too_large_whole(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics(SPECS)
    with pytest.raises(RecordTooLarge):
        await log.append(AT, [Entry(b"", b"small"), Entry(b"k", bytes(VALUE_BYTES_MAX))], durable=True)
    assert await log.append(AT, [Entry(b"", bytes(VALUE_BYTES_MAX))], durable=True) == [0]


async def refuses_unknown_topics_and_changed_counts(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics(SPECS)
    await log.create_topics(SPECS)
    with pytest.raises(LogError):
        await log.append(TopicPartition("nowhere", 0), [Entry(b"", b"")], durable=True)
    with pytest.raises(LogError):
        await log.create_topics([TopicSpec("events", 3, Visible.DURABLE, kept=True)])


async def adds_partitions_to_a_topic_that_grows(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics([GROWING])
    await log.append(TopicPartition("writes", 1), [Entry(b"", b"before")], durable=True)
    await log.create_topics([msgspec.structs.replace(GROWING, partitions=5)])
    for offset in range(2):
        assert await _values(log, TopicPartition("writes", 1)) == [(0, b"before")]
        assert await log.append(TopicPartition("writes", 4), [Entry(b"", b"new")], durable=True) == [offset]
        with pytest.raises(LogError):
            await log.create_topics([GROWING])  # it never shrinks
        log = await harness.reopen(log)


async def keeps_its_identity(harness: Harness) -> None:
    log = await harness.open()
    identity = log.identity
    log = await harness.reopen(log)
    assert log.identity == identity


async def keeps_what_its_clock_said(harness: Harness) -> None:
    """Also where the clock was set back: over rolls, whose checkpoints once told the latest time, and a start."""
    log = await harness.open()
    await log.create_topics(SPECS)
    said: list[int] = []
    for now_ms in (5_000, 3_605_000, 6_000, 5_500):
        harness.now_ms = now_ms
        for _ in range(15):  # some roll the embedded journal
            await log.append(AT, [Entry(b"", bytes(1000))], durable=False)
            await log.append(DURABLE_AT, [Entry(b"", bytes(1000))], durable=True)
            said.append(now_ms)
        assert await _times(log, AT) == await _times(log, DURABLE_AT) == said
        log = await harness.reopen(log)
        assert await _times(log, AT) == await _times(log, DURABLE_AT) == said


async def takes_concurrent_appends(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics(SPECS)
    entries = [Entry(str(number).encode(), bytes(50)) for number in range(200)]
    offsets = await asyncio.gather(*(log.append(DURABLE_AT, [entry], durable=True) for entry in entries))
    assert sorted(each[0] for each in offsets) == list(range(200))
    records = await log.read(DURABLE_AT, 0)
    assert [offsets[int(each.key)][0] for each in records] == list(range(200))


async def keeps_the_order_of_appends_under_way(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics(SPECS)
    for at in (AT, DURABLE_AT):
        under_way = []
        for number in range(30):
            under_way.append(asyncio.ensure_future(log.append(at, [Entry(b"", bytes([number]))], durable=True)))
            await asyncio.sleep(0)  # it is asked for before the next one
        assert await asyncio.gather(*under_way) == [[n] for n in range(30)]
        assert [each.value for each in await log.read(at, 0)] == [bytes([n]) for n in range(30)]


async def _times(log: Log, at: TopicPartition) -> list[int]:
    found: list[Record] = []
    while batch := await log.read(at, len(found)):
        found += batch
    return [each.time_ms for each in found]


async def _values(log: Log, at: TopicPartition) -> list[tuple[int, bytes]]:
    return [(each.offset, each.value) for each in await log.read(at, 0)]


async def keeps_what_nobody_waited_for_when_a_write_fails(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics(SPECS)
    await log.append(AT, [Entry(b"", b"before")], durable=True)
    for at in (AT, DURABLE_AT):
        begun = await _values(log, at)
        [kept] = await log.append(at, [Entry(b"", b"kept")], durable=False)
        harness.fail_next()
        waiting = asyncio.ensure_future(log.append(at, [Entry(b"", b"lost"), Entry(b"", b"lost, too")], durable=True))
        await asyncio.sleep(0)
        shown = await _values(log, at)
        with pytest.raises(LogError):
            await waiting
        assert [each for each in await _values(log, at) if each not in begun] in ([], [(kept, b"kept")])
        [following] = await log.append(at, [Entry(b"", b"following")], durable=True)
        assert following > max([kept, *(offset for offset, _ in shown)])  # an offset that was shown is never used again
        for opened in (log, await harness.reopen(log)):
            assert await _values(opened, at) == [*begun, (kept, b"kept"), (following, b"following")]
        log = opened


async def goes_on_after_a_failed_write(harness: Harness) -> None:
    log = await harness.open()
    await log.create_topics(SPECS)
    await log.append(AT, [Entry(b"", b"before")], durable=True)
    harness.fail_next()
    with pytest.raises(LogError):
        await log.append(DURABLE_AT, [Entry(b"", b"failed")], durable=True)
    waiting = [log.append(DURABLE_AT, [Entry(b"", str(number).encode())], durable=True) for number in range(5)]
    offsets = await asyncio.gather(*waiting)
    expected = sorted((offset, str(number).encode()) for number, [offset] in enumerate(offsets))
    assert await _values(log, DURABLE_AT) == expected
    log = await harness.reopen(log)
    assert await _values(log, DURABLE_AT) == expected


CASES: list[Case] = [
    reads_back_in_order,
    shows_durable_topics_only_when_synced,
    follows,
    keeps_offsets_after_trimming_everything,
    keeps_kept_records_through_rolls,
    refuses_what_is_too_large_whole,
    refuses_unknown_topics_and_changed_counts,
    adds_partitions_to_a_topic_that_grows,
    keeps_its_identity,
    takes_concurrent_appends,
    keeps_the_order_of_appends_under_way,
]
CLOCKS: list[Case] = [keeps_what_its_clock_said]
FAILURES: list[Case] = [
    keeps_what_nobody_waited_for_when_a_write_fails,
    goes_on_after_a_failed_write,
]


def _run(case: Case, harness: Harness) -> None:
    async def run() -> None:
        try:
            await case(harness)
        finally:
            await harness.close()

    if harness.kind != "simulated":
        return asyncio.run(run())
    loop = ClusterLoop(random.Random(0), 0.0)
    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


@pytest.mark.parametrize("case", [*CASES, *CLOCKS, goes_on_after_a_failed_write], ids=lambda case: case.__name__)
def test_log_of_the_simulation(case: Case, tmp_path: Path) -> None:
    """A fake that is kinder or harsher than the port would find other faults than there are."""
    _run(case, Harness("simulated", tmp_path))


@pytest.mark.parametrize("kind", ["memory", "embedded", "mirrored"])
@pytest.mark.parametrize("case", [*CASES, *CLOCKS, *FAILURES], ids=lambda case: case.__name__)
def test_log(kind: str, case: Case, tmp_path: Path) -> None:
    _run(case, Harness(kind, tmp_path))


@pytest.mark.kafka
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_log_on_kafka(case: Case, tmp_path: Path, kafka: str) -> None:
    _run(case, Harness("kafka", tmp_path, kafka))
