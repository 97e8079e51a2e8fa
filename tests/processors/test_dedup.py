"""A command that the log has twice is carried out once, whoever owns the partition, and whatever became of it first."""

import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from processors.dedup import GAP_MS, REQUESTS_MAX, WINDOW_MS, CommandDedup
from processors.memory import MemoryView
from processors.runtime import TRIM_EVERY_MS, PartitionRuntime
from tests.processors.bench import COMMANDS, Bench, bench, bucket
from topics import commands, events
from topics.log import Entry, LogError, Record
from topics.objects import Attributes, Preconditions

ALWAYS = Preconditions()


def record(offset: int, time_ms: int = 0) -> Record:
    return Record(offset, time_ms, b"", b"")


def put(key: str, etag: str, wanted: Preconditions = ALWAYS) -> commands.PutObject:
    return commands.PutObject("x", key, 0, etag, [], None, Attributes(), wanted)


def put_new(key: str, etag: str) -> commands.PutObject:
    return put(key, etag, Preconditions(if_none_match="*"))


DELETE = commands.DeleteObject("x", "k")


async def decide(at: Bench, runtime: PartitionRuntime, start: int = 0) -> None:
    await runtime.handle(await at.log.read(COMMANDS, start))


async def taken_over(at: Bench) -> PartitionRuntime:
    """By another process, with a view of its own."""
    at.view = MemoryView()
    runtime = at.runtime("another")
    await runtime.claim()
    return runtime


def repeating(case: Callable[[Bench], Awaitable[None]]) -> None:
    async def on_such_a_log(at: Bench) -> None:
        at.log.repeats = True
        await case(at)

    bench(on_such_a_log)


class Log:
    """Requests with their own offsets, each so long after the one before as the log's clock says."""

    def __init__(self) -> None:
        self.dedup = CommandDedup()
        self.offset = -1
        self.now_ms = 10**12

    def has_before(self, request: str, after_ms: int = 0) -> bool:
        self.offset += 1
        self.now_ms += after_ms
        return self.dedup.is_repeated(request, record(self.offset, self.now_ms))

    def pass_(self, time_ms: int) -> None:
        """In which requests come as often as it takes to count all of it."""
        for _ in range(time_ms // GAP_MS):
            assert not self.has_before(f"at {self.offset}", GAP_MS)


def test_a_request_is_known_for_a_window_and_forgotten_after_two() -> None:
    log = Log()
    assert not log.has_before("a")
    log.pass_(WINDOW_MS)
    assert log.has_before("a")
    assert log.dedup.needed_from(10**9) == 0
    assert log.dedup.needed_from(-1) == -1
    log.pass_(WINDOW_MS + 2 * GAP_MS)
    assert log.dedup.needed_from(10**9) > 0
    assert not log.has_before("a")


@pytest.mark.parametrize("leap_ms", [3_600_000, 365 * 86_400_000])
def test_a_clock_that_leaps_forgets_nothing(leap_ms: int) -> None:
    log = Log()
    log.has_before("a")
    for step_ms in (leap_ms, -leap_ms, leap_ms):
        log.has_before(f"b {log.offset}", step_ms)
    log.pass_(WINDOW_MS // 2)
    assert log.has_before("a")


def test_a_clock_that_was_set_back_keeps_no_request_for_ever() -> None:
    log = Log()
    log.has_before("a")
    log.has_before("b", -86_400_000)
    log.pass_(2 * WINDOW_MS + 3 * GAP_MS)
    assert not log.has_before("a")


def test_what_is_kept_is_bounded() -> None:
    tracemalloc.start()
    try:
        log = Log()
        for number in range(3 * REQUESTS_MAX):
            log.has_before(f"{number:032x}")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 12 << 20
    assert log.dedup.needed_from(10**9) == REQUESTS_MAX
    assert log.has_before(f"{2 * REQUESTS_MAX:032x}")


def test_a_deletion_that_comes_twice_takes_nothing_that_was_written_between() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        for request, body in (("R1", bucket("x")), ("R2", put("k", "1")), ("R3", DELETE), ("R4", put("k", "2"))):
            await at.ask(request, body)
        await at.ask("R3", DELETE)
        await decide(at, runtime)
        assert await at.facts() == [
            events.Claimed,
            events.BucketCreated,
            events.ObjectCreated,
            events.ObjectRemoved,
            events.ObjectCreated,
        ]
        assert [reply.request_id for reply in at.sent.replies] == ["R1", "R2", "R3", "R4"]

    repeating(case)


def test_the_next_owner_knows_what_was_asked_of_the_one_before() -> None:
    async def case(at: Bench) -> None:
        first = at.runtime()
        await first.claim()
        await at.ask("R1", bucket("x"))
        await at.ask("R2", put("k", "1"))
        await decide(at, first)
        await first.trim()
        await at.ask("R3", put("k", "2"))
        await at.ask("R2", put("k", "1"))
        await decide(at, await taken_over(at))
        assert (await at.facts()).count(events.ObjectCreated) == 2
        assert (await at.decisions())[-1].request_id == "R3"

    repeating(case)


def test_what_was_rejected_is_not_carried_out_later() -> None:
    async def case(at: Bench) -> None:
        first = at.runtime()
        await first.claim()
        for request, body in (("R1", bucket("x")), ("R2", put("k", "1")), ("R3", put_new("k", "2")), ("R4", DELETE)):
            await at.ask(request, body)
        await decide(at, first)
        assert at.errors()["R3"] == "PreconditionFailed"
        await at.ask("R3", put_new("k", "2"))
        await decide(at, await taken_over(at))
        assert (await at.facts()).count(events.ObjectCreated) == 1

    repeating(case)


def test_what_is_decided_again_behind_a_failed_append_is_no_repetition() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        await at.ask("R1", bucket("x"))
        await at.ask("R1", bucket("x"))
        at.log.fail_next = 1
        with pytest.raises(LogError):
            await decide(at, runtime)
        await runtime.claim()
        await decide(at, runtime)
        assert await at.facts() == [events.Claimed, events.Claimed, events.BucketCreated]

    repeating(case)


def test_commands_are_kept_while_they_may_come_again() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        await at.ask("R1", bucket("x"))
        for number in range(2 * WINDOW_MS // GAP_MS):
            at.now_ms += GAP_MS
            await at.ask(f"S{number}", DELETE, deadline_ms=at.now_ms)
        await decide(at, runtime)
        await runtime.trim()
        assert await at.log.earliest(COMMANDS) == 0
        end = await at.log.latest(COMMANDS)
        for number in range(2):
            at.now_ms += GAP_MS
            await at.ask(f"T{number}", bucket(f"t{number}"), deadline_ms=at.now_ms)
        await decide(at, runtime, end)
        await runtime.trim()
        assert await at.log.earliest(COMMANDS) > 0

    repeating(case)


def test_a_command_of_another_release_that_was_decided_there_is_passed_over() -> None:
    async def case(at: Bench) -> None:
        first = at.runtime()
        await first.claim()
        await at.log.append(COMMANDS, [Entry(b"", b"of a later release")], durable=False)
        await at.ask("R1", bucket("x"))
        await decide(at, first, 1)
        await at.ask("R1", bucket("x"))
        await at.ask("R2", bucket("y"))
        await decide(at, await taken_over(at))
        assert at.errors() == {"R1": "", "R2": ""}

    repeating(case)


def test_a_partition_that_comes_to_rest_keeps_no_commands() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        await at.ask("R1", bucket("x"))
        await decide(at, runtime)
        await at.log.append(COMMANDS, [], durable=True)
        passes = WINDOW_MS // TRIM_EVERY_MS + 3
        for _ in range(passes - 5):
            await runtime.trim()
        assert await at.log.earliest(COMMANDS) == 0
        await at.ask("R2", bucket("y"))  # not decided yet: who has not read all does not know what was repeated
        for _ in range(passes):
            await runtime.trim()
        assert await at.log.earliest(COMMANDS) == 0
        await decide(at, runtime)
        for _ in range(passes):
            await runtime.trim()
        assert await at.log.earliest(COMMANDS) == 2

    repeating(case)
