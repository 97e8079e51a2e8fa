"""Commands that were decided without an event: told in the log, and never carried out by the rules of another release."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from processors.machine import decide, tables
from processors.memory import MemoryView
from processors.runtime import TELL_EVERY_S, PartitionRuntime
from processors.view import Readable
from tests.processors.bench import COMMANDS, EVENTS, Bench, Sent, bucket
from tests.processors.rows import extents
from tests.virtual import run
from topics import commands, events, spec
from topics.log import Entry
from topics.objects import Attributes, Preconditions

CREATE_ONLY = commands.PutObject("x", "key", 5, "e2", extents("b2"), None, Attributes(), Preconditions("", "*"))
FIRST = commands.PutObject("x", "key", 5, "e1", extents("b1"), None, Attributes())


def bench(case: Callable[[Bench], Awaitable[None]]) -> None:
    """In virtual time."""

    async def whole() -> None:
        made = Bench()
        await made.log.create_topics(spec.ALL)
        await case(made)

    run(whole())


@contextlib.asynccontextmanager
async def running(runtime: PartitionRuntime) -> AsyncIterator[None]:
    await runtime.claim()
    task = asyncio.create_task(runtime.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def refused_once(at: Bench, release: str) -> None:
    """A bucket with a key, and a refused attempt to create the key again; then its owner is gone."""
    runtime = at.runtime("first", release)
    await runtime.claim()
    for request, body in (("R1", bucket("x")), ("R2", FIRST), ("R3", CREATE_ONLY)):
        await at.ask(request, body)
    await runtime.handle(await at.log.read(COMMANDS, 0))
    assert at.errors() == {"R1": "", "R2": "", "R3": "PreconditionFailed"}
    at.sent = Sent()
    at.view = MemoryView()


def conditions_ignored(patch: pytest.MonkeyPatch) -> None:
    """As a release does that decides otherwise."""
    honest = decide.decide

    def lax(view: Readable, command: commands.Command, context: decide.Context) -> decide.Outcome:
        body = command.body
        if isinstance(body, commands.PutObject):
            command = commands.Command(
                command.request_id,
                command.principal,
                command.reply_to,
                command.deadline_ms,
                commands.PutObject(body.bucket, body.key, body.size, body.etag, body.extents, None, body.attributes),
            )
        return honest(view, command, context)

    patch.setattr("processors.batch.decide", lax)


def etag(at: Bench) -> str:
    row = tables.current(at.view, "x" * 32, "key")
    assert row is not None
    return row.etag


def test_what_one_release_refused_another_does_not_carry_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        await refused_once(at, "one")
        conditions_ignored(monkeypatch)
        async with running(at.runtime("second", "two")):
            await at.sent.told("R3")
            await at.ask("R4", bucket("y"))
            await at.sent.told("R4")
        assert at.errors() == {"R1": "", "R2": "", "R3": "ServiceUnavailable", "R4": ""}
        assert etag(at) == "e1"
        last = await at.decisions()
        assert [type(each.event) for each in last[3:]] == [events.Claimed, events.CommandsDecided, events.BucketCreated]
        assert (last[4].event, last[4].cause) == (events.CommandsDecided(3), 2)

    bench(case)


def test_it_is_settled_also_where_the_first_owner_of_the_new_release_did_not_get_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def case(at: Bench) -> None:
        await refused_once(at, "one")
        conditions_ignored(monkeypatch)
        await at.runtime("second", "two").claim()  # and is killed
        at.view = MemoryView()
        async with running(at.runtime("third", "two")):
            await at.sent.told("R3")
        assert etag(at) == "e1"
        assert at.errors()["R3"] == "ServiceUnavailable"

    bench(case)


def test_of_a_release_that_did_not_name_itself_nothing_is_carried_out_either(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        claim = events.Decision(1, 0, -1, 0, "", "", "", events.Claimed("of an earlier release"))
        await at.log.append(EVENTS, [Entry(b"", events.encode(claim))], durable=True)
        await at.ask("R1", bucket("x"))
        async with running(at.runtime("second", "two")):
            await at.sent.told("R1")
        assert at.errors() == {"R1": "ServiceUnavailable"}
        assert tables.bucket(at.view, "x") is None

    bench(case)


def test_the_same_release_refuses_again_what_it_refused() -> None:
    async def case(at: Bench) -> None:
        await refused_once(at, "one")
        async with running(at.runtime("second", "one")):
            await at.sent.told("R3")
        assert at.errors()["R3"] == "PreconditionFailed"
        assert events.CommandsDecided not in (await at.facts())[:4]

    bench(case)


def test_a_refusal_is_told_only_under_a_lease() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        at.may_refuse = False
        await at.ask("R1", bucket("x"))
        await at.ask("R2", commands.DeleteBucket("y"))
        await at.ask("R3", commands.DeleteObject("x", "key"))  # it is done, and leaves no event
        await runtime.handle(await at.log.read(COMMANDS, 0))
        assert at.errors() == {"R1": "", "R2": "ServiceUnavailable", "R3": "ServiceUnavailable"}

    bench(case)


def test_a_refusal_is_left_to_the_next_owner_where_that_decides_it() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime("first")
        await runtime.claim()
        at.may_refuse, at.is_succeeded = False, True
        await at.ask("R1", commands.DeleteBucket("y"))
        await at.ask("R2", bucket("x"))
        await runtime.handle(await at.log.read(COMMANDS, 0))
        assert at.errors() == {"R1": "ServiceUnavailable", "R2": ""}  # an event is after R1: nobody decides it again
        await at.ask("R3", commands.DeleteBucket("y"))
        await runtime.handle(await at.log.read(COMMANDS, 2))
        assert "R3" not in at.errors()
        at.may_refuse = True
        async with running(at.runtime("second")):
            await at.sent.told("R3")
        assert at.errors()["R3"] == "NoSuchBucket"

    bench(case)


def test_that_commands_are_decided_is_told_once_a_second_and_lets_them_be_trimmed() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        async with running(runtime):
            for number in range(3):
                await at.ask(f"R{number}", commands.DeleteBucket("x"))
            await at.sent.told("R2")
            assert await at.facts() == [events.Claimed]
            await asyncio.sleep(TELL_EVERY_S * 1.1)
            assert [each.event for each in (await at.decisions())[1:]] == [events.CommandsDecided(3)]
            await runtime.trim()
            assert await at.log.earliest(COMMANDS) == 3
            await asyncio.sleep(TELL_EVERY_S * 5)
            assert len(await at.decisions()) == 2  # once
            await at.ask("R3", bucket("x"))
            await at.sent.told("R3")
            await asyncio.sleep(TELL_EVERY_S * 5)
            assert len(await at.decisions()) == 3  # an event tells it, too

    bench(case)


def test_it_is_told_at_an_end() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        async with running(runtime):
            await at.ask("R1", commands.DeleteBucket("x"))
            await at.sent.told("R1")
            await runtime.finish()
        assert [each.event for each in (await at.decisions())[1:]] == [events.CommandsDecided(1)]

    bench(case)


def test_where_it_cannot_be_told_the_partition_is_claimed_anew() -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        task = asyncio.create_task(runtime.run_alone())
        await at.ask("R1", commands.DeleteBucket("x"))
        await at.sent.told("R1")
        at.log.fail_late = 1
        await asyncio.sleep(TELL_EVERY_S * 1.1)
        at.log.land_late()
        await at.ask("R2", bucket("x"))
        await at.sent.told("R2")
        task.cancel()
        assert [(each.epoch, each.sequence) for each in await at.decisions()] == [(1, 0), (2, 0), (1, 1), (2, 1)]
        assert tables.bucket(at.view, "x") is not None

    bench(case)
