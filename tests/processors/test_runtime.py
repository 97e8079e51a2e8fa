"""The runtime of one partition on a log that fails at the worst moment."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from processors.machine import tables
from processors.memory import MemoryView
from processors.runtime import Fenced, PartitionRuntime, ViewMismatch
from tests.processors.machine import OWNER
from topics import commands, events, spec
from topics.log import Entry, LogError
from topics.memory import MemoryLog
from topics.replies import Reply
from topics.spec import TopicPartition

COMMANDS, EVENTS = TopicPartition("commands", 0), TopicPartition("events", 0)


class Sent:
    """Collects the replies."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self._told: dict[str, asyncio.Event] = {}

    def send(self, gateway: str, reply: Reply) -> None:
        assert gateway == "gateway"
        self.replies.append(reply)
        self._told.setdefault(reply.request_id, asyncio.Event()).set()

    async def told(self, request: str) -> None:
        await self._told.setdefault(request, asyncio.Event()).wait()


class Bench:
    def __init__(self) -> None:
        self.log = MemoryLog("the log", lambda: 1_000)
        self.view = MemoryView()
        self.sent = Sent()

    def runtime(self, owner: str = "a") -> PartitionRuntime:
        return PartitionRuntime(self.log, self.view, 0, owner, self.sent)

    async def ask(self, request: str, body: commands.Body) -> None:
        command = commands.Command(request, OWNER, "gateway", 9_999, body)
        await self.log.append(COMMANDS, [Entry(b"", commands.encode(command))], durable=True)

    async def facts(self) -> list[type[events.Event]]:
        return [type(events.decode(each.value).event) for each in await self.log.read(EVENTS, 0)]

    def errors(self) -> dict[str, str]:
        return {reply.request_id: reply.error for reply in self.sent.replies}


def bucket(name: str) -> commands.CreateBucket:
    return commands.CreateBucket(name, name * 32, "")


def bench(case: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        made = Bench()
        await made.log.create_topics(spec.ALL)
        await case(made)

    asyncio.run(run())


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


def test_an_owner_that_was_claimed_over_is_fenced() -> None:
    async def case(at: Bench) -> None:
        old, other = at.runtime("old"), PartitionRuntime(at.log, MemoryView(), 0, "new", at.sent)
        await old.claim()
        await other.claim()
        await at.ask("R1", bucket("x"))
        with pytest.raises(Fenced):
            await old.handle(await at.log.read(COMMANDS, 0))
        assert at.sent.replies == []
        assert tables.bucket(at.view, "x") is None

    bench(case)


def test_commands_behind_the_last_cause_are_decided_after_a_start() -> None:
    async def case(at: Bench) -> None:
        first = at.runtime()
        await first.claim()
        await at.ask("R1", bucket("x"))
        await first.handle(await at.log.read(COMMANDS, 0))
        await at.ask("R2", bucket("y"))
        at.view = MemoryView()  # the view is gone, too
        running = asyncio.create_task(at.runtime("b").run())
        await at.sent.told("R2")
        running.cancel()
        assert at.errors() == {"R1": "", "R2": ""}
        assert [reply.request_id for reply in at.sent.replies] == ["R1", "R2"]  # R1 once: it was decided

    bench(case)


def test_a_failure_to_decide_is_an_internal_error_and_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        runtime = at.runtime()
        await runtime.claim()
        for request, name in (("R1", "x"), ("R2", "y")):
            await at.ask(request, bucket(name))

        def fails_once(*arguments: object) -> object:
            monkeypatch.undo()
            raise KeyError(arguments)

        monkeypatch.setattr("processors.runtime.decide", fails_once)
        await runtime.handle(await at.log.read(COMMANDS, 0))
        assert at.errors() == {"R1": "InternalError", "R2": ""}

    bench(case)


def test_a_view_of_another_log_is_refused() -> None:
    async def case(at: Bench) -> None:
        await at.runtime().claim()
        at.log.identity = "made anew"
        with pytest.raises(ViewMismatch, match="another log; stop, remove the view's folder"):
            await at.runtime().claim()

    bench(case)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_log_that_lost_its_tail_is_refused(lost: int) -> None:
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
