"""Claims of a partition: who owns it, from when on, and with which view."""

import asyncio

import msgspec
import pytest

from processors.machine import tables
from processors.memory import MemoryView
from processors.replica import Replica, ViewMismatch
from processors.runtime import CLAIM_ATTEMPTS, TOLD_AGAIN_MS, Fenced, PartitionRuntime
from tests.processors.bench import COMMANDS, EVENTS, Bench, bench, bucket
from tests.simulation.cluster.broker import SimulatedLog
from topics import events, spec
from topics.log import Entry, LogError, OffsetTrimmed
from topics.memory import MemoryLog


def test_an_owner_that_was_claimed_over_is_fenced() -> None:
    async def case(at: Bench) -> None:
        old, other = at.runtime("old"), PartitionRuntime(at.log, Replica(at.log, MemoryView(), 0), "new", at.sent)
        await old.claim()
        await other.claim()
        await at.ask("R1", bucket("x"))
        with pytest.raises(Fenced):
            await old.handle(await at.log.read(COMMANDS, 0))
        assert at.sent.replies == []
        assert tables.bucket(at.view, "x") is None

    bench(case)


def test_a_view_of_another_log_is_refused() -> None:
    async def case(at: Bench) -> None:
        await at.runtime().claim()
        at.log.identity = "made anew"
        with pytest.raises(ViewMismatch, match="another log; stop, remove the view's folder"):
            await at.runtime().claim()

    bench(case)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_log_that_lost_its_tail_is_refused(lost: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.replica.LOOK_AGAIN_S", 0.0)

    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        for number in range(2):
            await at.ask(f"R{number}", bucket(f"x{number}"))
        await runtime.handle(await at.log.read(COMMANDS, 0))
        shorter = MemoryLog("the log", lambda: 1_000)
        await shorter.create_topics(spec.ALL)
        records = await at.log.read(EVENTS, 0)
        await shorter.append(EVENTS, [Entry(each.key, each.value) for each in records[:-lost]], durable=True)
        at.log = shorter
        with pytest.raises(ViewMismatch, match="lost records"):
            await at.runtime().claim()
        await shorter.append(EVENTS, [Entry(b"", records[0].value)] * lost, durable=True)  # as long, with other content
        with pytest.raises(ViewMismatch, match="lost records"):
            await at.runtime().claim()

    bench(case)


@pytest.mark.parametrize("lost", [1, 3])
@pytest.mark.parametrize("is_new", [True, False])
def test_the_places_of_lost_commands_that_were_decided_are_given_to_no_others(lost: int, is_new: bool) -> None:
    """Kafka acknowledges from memory: a power cut may leave the events and take commands, whose offsets come again."""

    async def case(at: Bench) -> None:
        at.log = log = SimulatedLog("the log", lambda: 1_000, lambda: 0.0)
        log.repeats = True
        await log.create_topics(spec.ALL)
        runtime = at.runtime()
        await runtime.claim()
        for number in range(3):
            await at.ask(f"R{number}", bucket(f"x{number}"))
        await runtime.handle(await log.read(COMMANDS, 0))
        await runtime.trim()
        log.lose_end(COMMANDS, lost)
        if is_new:
            runtime = at.runtime("b")
            await runtime.claim()
        else:
            await runtime.trim()
        running = asyncio.create_task(runtime.run())
        await at.ask("R9", bucket("x9"))
        await at.sent.told("R9")
        assert at.errors()["R9"] == ""
        assert await log.latest(COMMANDS) == 4
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    bench(case)


def test_of_two_who_claim_at_once_one_is_fenced() -> None:
    async def case(at: Bench) -> None:
        first, second = at.runtime("first"), PartitionRuntime(at.log, Replica(at.log, MemoryView(), 0), "second", at.sent)
        at.log.hold.clear()
        claims = [asyncio.create_task(each.claim()) for each in (first, second)]
        for _ in range(5):
            await asyncio.sleep(0)
        at.log.hold.set()
        outcomes = await asyncio.gather(*claims, return_exceptions=True)
        assert [type(each) for each in outcomes] == [type(None), Fenced]
        assert (first.is_claimed, second.is_claimed) == (True, False)
        assert [each.epoch for each in await at.decisions()] == [1, 1]
        await second.claim()
        await at.ask("R1", bucket("x"))
        with pytest.raises(Fenced):
            await first.handle(await at.log.read(COMMANDS, 0))
        assert at.sent.replies == []

    bench(case)


def test_a_claim_names_its_owner_and_rises_above_the_one_before() -> None:
    async def case(at: Bench) -> None:
        for owner in ("a", "b"):
            await at.runtime(owner).claim()
        found = [(each.epoch, each.sequence, each.cause, each.event) for each in await at.decisions()]
        assert found == [(1, 0, -1, events.Claimed("a", "R")), (2, 0, -1, events.Claimed("b", "R"))]

    bench(case)


@pytest.mark.parametrize(("failures", "gives_up"), [(CLAIM_ATTEMPTS - 1, False), (CLAIM_ATTEMPTS, True)])
def test_a_claim_is_tried_a_few_times(failures: int, gives_up: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processors.runtime.CLAIM_AGAIN_S", 0.0)

    async def case(at: Bench) -> None:
        at.log.fail_next = failures
        await at.ask("R1", bucket("x"))
        running = asyncio.create_task(at.runtime().run_alone())
        told = asyncio.create_task(at.sent.told("R1"))
        done, pending = await asyncio.wait([running, told], return_when=asyncio.FIRST_COMPLETED)
        assert done == {running if gives_up else told}
        for task in pending:
            task.cancel()
        if gives_up:
            with pytest.raises(LogError):
                await running

    bench(case)


@pytest.mark.parametrize("claimed", [True, False])
def test_running_claims_where_it_was_not_done_before(claimed: bool) -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        assert not runtime.is_claimed
        if claimed:
            await runtime.claim()
            assert runtime.is_claimed
        await at.ask("R1", bucket("x"))
        running = asyncio.create_task(runtime.run_alone())
        await at.sent.told("R1")
        running.cancel()
        assert await at.facts() == [events.Claimed, events.BucketCreated]

    bench(case)


def test_a_view_that_has_all_of_a_trimmed_log_is_taken() -> None:
    async def case(at: Bench) -> None:
        await at.runtime().claim()
        await at.log.trim(EVENTS, 1)
        runtime = at.runtime()
        await runtime.claim()
        assert (runtime.meta.offset, runtime.meta.epoch) == (2, 2)
        at.view = MemoryView()
        with pytest.raises(OffsetTrimmed):
            await at.runtime().claim()

    bench(case)


def test_a_new_owner_tells_again_what_the_one_before_decided() -> None:
    async def case(at: Bench) -> None:
        first = at.runtime("first")
        await first.claim()
        await at.ask("R1", bucket("x"))
        await first.handle(await at.log.read(COMMANDS, 0))
        told = at.sent.replies.copy()
        at.sent.replies.clear()  # as if the owner had died before it could send them
        second = PartitionRuntime(at.log, Replica(at.log, MemoryView(), 0), "second", at.sent)
        await second.claim()
        assert at.sent.replies == []  # the first one may still answer reads without what is told
        second.tell_again()
        assert at.sent.replies == told
        at.sent.replies.clear()
        await second.claim()
        second.tell_again()
        assert at.sent.replies == []  # once

    bench(case)


def test_a_process_that_finds_its_view_whole_tells_again_what_it_may_not_have_told() -> None:
    async def case(at: Bench) -> None:
        first = at.runtime("first")
        for request in ("R1", "R2"):
            await first.claim()
            await at.ask(request, bucket(request))
            await first.handle((await at.log.read(COMMANDS, 0))[-1:])
        at.sent.replies.clear()
        second = at.runtime("second")
        await second.claim()
        second.tell_again()
        assert at.errors() == {"R2": ""}  # R1 was told again at the latest by the second claim

    bench(case)


def test_nobody_is_told_of_what_is_long_ago() -> None:
    async def case(at: Bench) -> None:
        first = at.runtime("first")
        await first.claim()
        for request, now_ms in (("R1", 1_000), ("R2", 1_000 + TOLD_AGAIN_MS)):
            at.now_ms = now_ms
            await at.ask(request, bucket(request), deadline_ms=now_ms)
            await first.handle((await at.log.read(COMMANDS, 0))[-1:])
        at.sent.replies.clear()
        at.view = MemoryView()
        second = at.runtime("second")
        await second.claim()
        second.tell_again()
        assert at.errors() == {"R2": ""}

    bench(case)


def test_a_view_with_rows_of_another_layout_is_folded_anew() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        await at.ask("R1", bucket("x"))
        await runtime.handle(await at.log.read(COMMANDS, 0))
        old = msgspec.structs.replace(tables.meta(at.view), schema=tables.SCHEMA - 1)
        at.view.commit({tables.META_KEY: msgspec.msgpack.encode(old), b"row of old": b"", tables.bucket_key("x"): b"old"})
        await at.runtime().claim()
        assert at.view.get(b"row of old") is None
        assert tables.bucket(at.view, "x") is not None

    bench(case)
