"""The runtime of one partition on a log that fails at the worst moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from processors.machine import tables
from processors.memory import MemoryView
from processors.replica import Replica
from processors.runtime import Fenced, PartitionRuntime
from processors.view import Overlay
from tests.processors.bench import COMMANDS, EVENTS, Bench, Sent, WeighedLog, bench, bucket
from tests.processors.machine import OWNER
from topics import commands, events, spec
from topics.log import VALUE_BYTES_MAX, Entry, LogError, OffsetTrimmed, Record, UnknownRecord
from topics.memory import MemoryLog
from topics.objects import Attributes, Checksum
from topics.spec import TopicPartition


def test_a_reply_waits_for_the_log() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        await at.ask("R1", bucket("x"))
        await at.ask("R2", bucket("x"))  # rejected, and that rests on what is not durable yet
        at.log.hold.clear()
        handling = asyncio.create_task(runtime.handle(await at.log.read(COMMANDS, 0)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert at.sent.replies == []
        assert tables.bucket(at.view, "x") is None
        at.log.hold.set()
        await handling
        assert at.errors() == {"R1": "", "R2": "BucketAlreadyOwnedByYou"}
        assert tables.bucket(at.view, "x") is not None

    bench(case)


def test_after_a_failed_append_nobody_is_told_of_success_and_the_claim_is_new() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        await at.ask("R1", bucket("x"))
        at.log.fail_next = 1
        with pytest.raises(LogError):
            await runtime.handle(await at.log.read(COMMANDS, 0))
        assert at.errors() == {"R1": "ServiceUnavailable"}
        assert tables.bucket(at.view, "x") is None
        await runtime.claim()
        await at.ask("R2", bucket("y"))
        await runtime.handle((await at.log.read(COMMANDS, 0))[1:])
        assert at.errors() == {"R1": "ServiceUnavailable", "R2": ""}
        assert await at.facts() == [events.Claimed, events.Claimed, events.BucketCreated]

    bench(case)


def test_an_append_that_lands_late_is_void() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        await at.ask("R1", bucket("x"))
        at.log.fail_late = 1
        with pytest.raises(LogError):
            await runtime.handle(await at.log.read(COMMANDS, 0))
        await runtime.claim()
        at.log.land_late()
        await at.ask("R2", bucket("y"))
        with_late = await at.log.read(COMMANDS, 0)
        await runtime.handle(with_late[1:])
        assert tables.bucket(at.view, "x") is None
        assert tables.bucket(at.view, "y") is not None

    bench(case)


def test_commands_behind_the_last_cause_are_decided_after_a_start() -> None:
    async def case(at: Bench) -> None:
        first = at.runtime()
        await first.claim()
        await at.ask("R1", bucket("x"))
        await first.handle(await at.log.read(COMMANDS, 0))
        await at.ask("R2", bucket("y"))
        at.view = MemoryView()  # the view is gone, too
        running = asyncio.create_task(at.runtime("b").run_alone())
        await at.sent.told("R2")
        running.cancel()
        assert at.errors() == {"R1": "", "R2": ""}
        assert [reply.request_id for reply in at.sent.replies] == ["R1", "R1", "R2"]  # told again, decided once
        assert (await at.facts()).count(events.BucketCreated) == 2

    bench(case)


def test_a_failure_to_decide_is_an_internal_error_and_no_end() -> None:
    unknown = Checksum("CRC128", "AAAA")  # of a release that knew more
    asked: list[commands.Body] = [
        bucket("x"),
        commands.CreateUpload("x", "key", "upload", "CRC128", "FULL_OBJECT", Attributes()),
        commands.PutPart("x", "key", "upload", 1, 5, "00", [], unknown),
        commands.CompleteUpload("x", "key", "upload", [commands.PartName(1, "00")], None),
        bucket("y"),
    ]

    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        for number, body in enumerate(asked, 1):
            await at.ask(f"R{number}", body)
        await runtime.handle(await at.log.read(COMMANDS, 0))
        assert at.errors() == {"R1": "", "R2": "", "R3": "", "R4": "InternalError", "R5": ""}

    bench(case)


def test_an_event_that_cannot_be_folded_is_not_appended_and_leaves_nothing_in_the_overlay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = tables.put

    def put(view: Overlay, key: bytes, row: tables.Row) -> None:
        if key == tables.bucket_key("bad"):
            view.put(b"half", b"of it")
            raise ArithmeticError
        honest(view, key, row)

    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        for number, name in enumerate(("x", "bad", "y")):
            await at.ask(f"R{number}", bucket(name))
        with monkeypatch.context() as patch:
            patch.setattr(tables, "put", put)
            await runtime.handle(await at.log.read(COMMANDS, 0))
        assert at.errors() == {"R0": "", "R1": "InternalError", "R2": ""}
        assert await at.facts() == [events.Claimed, events.BucketCreated, events.BucketCreated]
        live, at.view = at.view, MemoryView()
        await at.runtime("b").claim()
        del live.rows[tables.META_KEY], at.view.rows[tables.META_KEY]
        assert live.rows == at.view.rows

    bench(case)


def test_where_the_view_cannot_be_read_the_outcome_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    class Damaged(MemoryView):
        def get(self, key: bytes) -> bytes | None:
            if key == tables.bucket_key("x"):
                raise OSError("view/0000 is damaged: it is made anew when bucketlog starts again")
            return super().get(key)

    async def case(at: Bench) -> None:
        at.view = Damaged()
        runtime = at.runtime()
        await runtime.claim()
        await at.ask("R1", bucket("x"))
        await at.ask("R2", bucket("y"))
        await runtime.handle(await at.log.read(COMMANDS, 0))
        assert at.errors() == {"R1": "ServiceUnavailable", "R2": ""}

    bench(case)
    assert "it is made anew when bucketlog starts again" in caplog.text
    assert "bug" not in caplog.text


@pytest.mark.parametrize("between", [False, True])
def test_an_append_acknowledged_at_its_second_copy_counts(between: bool) -> None:
    """Offsets alone do not tell: librdkafka may send again what it has sent, under another epoch of its own."""

    class Twice(MemoryLog):
        async def append(self, at: TopicPartition, entries: Sequence[Entry], *, durable: bool) -> list[int]:
            if at == EVENTS:
                await super().append(at, entries, durable=durable)
                if between:  # a zombie's, void
                    await super().append(at, [Entry(b"", ZOMBIE)], durable=durable)
            return await super().append(at, entries, durable=durable)

    late = events.Decision(0, 7, 3, 0, "", "", "", events.BucketDeleted("x"))
    ZOMBIE = events.encode(late)

    async def case(at: Bench) -> None:
        at.log = Twice("the log", lambda: at.now_ms)
        await at.log.create_topics(spec.ALL)
        runtime = at.runtime()
        await runtime.claim()
        await at.ask("R1", bucket("x"))
        await at.ask("R2", bucket("x"))
        await runtime.handle(await at.log.read(COMMANDS, 0))
        assert at.errors() == {"R1": "", "R2": "BucketAlreadyOwnedByYou"}
        assert tables.bucket(at.view, "x") is not None

    bench(case)


def test_an_append_that_lands_behind_another_claim_counts_for_nothing_though_that_was_folded_meanwhile() -> None:
    """As where a partition is followed again while the last append of its runtime is under way."""

    async def case(at: Bench) -> None:
        replica = Replica(at.log, at.view, 0)
        runtime = PartitionRuntime(at.log, replica, "a", at.sent, release="R")
        await runtime.claim()
        await at.ask("R1", bucket("x"))
        at.log.hold.clear()
        handling = asyncio.create_task(runtime.handle(await at.log.read(COMMANDS, 0)))
        await asyncio.sleep(0)
        claimed = events.Decision(2, 0, -1, 0, "b", "", "", events.Claimed("b", "R"))
        at.log.land(EVENTS, [Entry(b"", events.encode(claimed))])
        await replica.catch_up()
        at.log.hold.set()
        with pytest.raises(Fenced):
            await handling
        assert at.view.rows == await at.replayed()
        assert tables.bucket(at.view, "x") is None

    bench(case)


def test_records_that_two_read_at_once_are_folded_once() -> None:
    class Slow(MemoryLog):
        async def read(self, at: TopicPartition, offset: int, *, records_max: int = 1_000) -> list[Record]:
            found = await super().read(at, offset, records_max=records_max)
            await asyncio.sleep(0)
            return found

    async def case(at: Bench) -> None:
        at.log = Slow("the log", lambda: at.now_ms)
        await at.log.create_topics(spec.ALL)
        await at.runtime().claim()
        at.view = MemoryView()
        replica = Replica(at.log, at.view, 0)
        await asyncio.gather(replica.catch_up(), replica.catch_up())
        assert at.view.rows == await at.replayed()

    bench(case)


def test_running_goes_on_over_a_failed_append_under_a_new_claim() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        running = asyncio.create_task(runtime.run_alone())
        await at.ask("R1", bucket("x"))
        await at.sent.told("R1")
        at.log.fail_next = 2  # the claim's first attempt, too
        await at.ask("R2", bucket("y"))
        await at.ask("R3", bucket("x"))
        await at.sent.told("R2")
        await at.ask("R4", bucket("z"))
        await at.sent.told("R4")
        running.cancel()
        # decided again: the log has the commands, and their outcome was open
        assert [(each.request_id, each.error) for each in at.sent.replies] == [
            ("R1", ""),
            ("R2", "ServiceUnavailable"),
            ("R3", "ServiceUnavailable"),
            ("R2", ""),
            ("R3", "BucketAlreadyOwnedByYou"),
            ("R4", ""),
        ]
        assert [(each.epoch, each.sequence) for each in await at.decisions()] == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
        assert runtime.is_claimed

    bench(case)


def test_a_rejection_needs_no_append() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        await at.ask("R1", commands.DeleteBucket("x"))
        at.log.fail_next = 1
        batch = await at.log.read(COMMANDS, 0)
        await runtime.handle(batch)
        await runtime.handle(batch)  # seen before: no second answer
        assert [(each.request_id, each.error) for each in at.sent.replies] == [("R1", "NoSuchBucket")]

    bench(case)


def test_many_commands_go_in_appends_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        for number in range(600):
            await at.ask(f"R{number}", bucket(f"x{number}"))
        monkeypatch.setattr("processors.runtime.BATCH_S", 60.0)  # a busy machine is no reason
        running = asyncio.create_task(at.runtime().run_alone())
        await at.sent.told("R599")
        running.cancel()
        assert isinstance(at.log, WeighedLog)
        assert at.log.weights == [1, 256, 256, 88]
        assert [each.request_id for each in at.sent.replies] == [f"R{number}" for number in range(600)]

    bench(case)


def test_commands_that_take_long_go_in_several_appends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        monkeypatch.setattr("processors.runtime.BATCH_S", -1.0)
        runtime = at.runtime()
        await runtime.claim()
        for number, name in enumerate(("x", "x", "y")):
            await at.ask(f"R{number}", bucket(name))
        await runtime.handle(await at.log.read(COMMANDS, 0))
        assert isinstance(at.log, WeighedLog)
        assert at.log.weights == [1, 1, 1]
        assert at.errors() == {"R0": "", "R1": "BucketAlreadyOwnedByYou", "R2": ""}
        assert runtime.decided_below == 3

    bench(case)


def test_the_partitions_clock_never_goes_back() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        for number, now_ms in enumerate((1_000, 3_000, 2_000, 4_000)):
            at.now_ms = now_ms
            await at.ask(f"R{number}", bucket(f"x{number}"))
        await runtime.handle(await at.log.read(COMMANDS, 0))
        await at.runtime("b").claim()
        assert [each.time_ms for each in await at.decisions()] == [0, 1_000, 3_000, 3_000, 4_000, 4_000]
        assert [each.time_ms for each in at.sent.replies] == [1_000, 3_000, 3_000, 4_000]

    bench(case)


def test_trimming_leaves_the_commands_that_a_start_decides_again() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        for request, body in (("R0", bucket("x")), ("R1", bucket("y")), ("R2", bucket("x"))):
            await at.ask(request, body)
        await runtime.handle(await at.log.read(COMMANDS, 0))
        await at.log.append(COMMANDS, [], durable=True)
        await runtime.trim()
        assert await at.log.earliest(COMMANDS) == 2  # what is rejected leaves no event, and is rejected again
        at.sent = again = Sent()
        running = asyncio.create_task(at.runtime("b").run_alone())
        await again.told("R2")
        running.cancel()
        told = [(each.request_id, each.error) for each in again.replies]
        assert told == [("R0", ""), ("R1", ""), ("R2", "BucketAlreadyOwnedByYou")]

    bench(case)


class TrimmedBetween(MemoryLog):
    """Commands are trimmed when it was just told where they begin."""

    def __init__(self, before: int, clock_ms: Callable[[], int]) -> None:
        super().__init__("the log", clock_ms)
        self._before = before
        self.is_armed = False

    async def earliest(self, at: TopicPartition) -> int:
        found = await super().earliest(at)
        if at == COMMANDS and self.is_armed:
            await self.trim(COMMANDS, self._before)
        return found


def trimmed_between(before: int, case: Callable[[Bench, TrimmedBetween], Awaitable[None]]) -> None:
    async def on(at: Bench) -> None:
        at.log = log = TrimmedBetween(before, lambda: at.now_ms)
        await log.create_topics(spec.ALL)
        await case(at, log)

    bench(on)


def test_commands_that_are_trimmed_under_an_owner_need_no_new_claim() -> None:
    async def case(at: Bench, log: TrimmedBetween) -> None:
        for number in range(3):
            await at.ask(f"R{number}", bucket(f"x{number}"))
        await log.append(COMMANDS, [], durable=True)
        runtime = at.runtime()
        await runtime.claim()
        log.is_armed = True
        running = asyncio.create_task(runtime.run())
        await at.sent.told("R2")
        running.cancel()
        assert at.errors() == {"R2": ""}
        assert await at.facts() == [events.Claimed, events.BucketCreated]

    trimmed_between(2, case)


def test_who_finds_that_another_owner_decided_and_trimmed_is_fenced_and_rejects_nothing() -> None:
    async def case(at: Bench, log: TrimmedBetween) -> None:
        first = at.runtime()
        await first.claim()
        mine, at.view = at.view, MemoryView()
        second = at.runtime("b")
        await second.claim()
        await at.ask("R1", bucket("x"))
        await second.handle(await log.read(COMMANDS, 0))
        await at.ask("R2", commands.DeleteBucket("x"))  # for who has not heard of R1, there is no such bucket
        log.is_armed = True
        with pytest.raises(Fenced):
            await first.run()
        assert at.errors() == {"R1": ""}
        assert tables.bucket(mine, "x") is not None

    trimmed_between(1, case)


def test_a_log_that_lost_its_end_is_no_trimmed_one() -> None:
    class Lost(MemoryLog):
        async def follow(self, at: TopicPartition, offset: int) -> AsyncIterator[list[Record]]:
            raise OffsetTrimmed("out of range")
            yield []

    async def case(at: Bench) -> None:
        at.log = Lost("the log", lambda: at.now_ms)
        await at.log.create_topics(spec.ALL)
        runtime = at.runtime()
        await runtime.claim()
        with pytest.raises(OffsetTrimmed):
            await runtime.run()

    bench(case)


def test_a_command_whose_event_no_log_takes_is_left_out() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        foreign = commands.Command("R1", OWNER, "gateway", 9_999, bucket("x" * VALUE_BYTES_MAX))
        at.log.land(COMMANDS, [Entry(b"", commands.encode(foreign))])  # our own append would refuse it
        await at.ask("R2", bucket("y"))
        await runtime.handle(await at.log.read(COMMANDS, 0))
        assert at.errors() == {"R1": "InternalError", "R2": ""}
        assert await at.facts() == [events.Claimed, events.BucketCreated]

    bench(case)


@pytest.mark.parametrize(("topic", "reason"), [(COMMANDS, "got `int`"), (EVENTS, "malformed")])
def test_a_record_that_no_codec_knows_ends_the_partition(topic: TopicPartition, reason: str) -> None:
    async def case(at: Bench) -> None:
        await at.log.append(topic, [Entry(b"", b"garbage")], durable=True)
        with pytest.raises(
            UnknownRecord, match=f"offset 0 of {topic.topic}:0 cannot be read: .*{reason}.*; upgrade bucketlog"
        ):
            await at.runtime().run_alone()

    bench(case)
