"""The runtime of one partition on a log in memory, with its commands and collected replies."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from processors.memory import MemoryView
from processors.replica import Replica
from processors.runtime import PartitionRuntime
from tests.processors.machine import OWNER
from topics import commands, events, spec
from topics.log import Entry
from topics.memory import MemoryLog
from topics.replies import Reply
from topics.spec import TopicPartition

WAIT_S = 10.0  # a reply that does not come fails the test
COMMANDS, EVENTS = TopicPartition("commands", 0), TopicPartition("events", 0)


class Sent:
    """Collects the replies."""

    outlives_owner = True

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self._told: dict[str, asyncio.Event] = {}

    def send(self, gateway: str, reply: Reply) -> None:
        assert gateway in ("gateway", "")  # empty: nobody waits
        self.replies.append(reply)
        self._told.setdefault(reply.request_id, asyncio.Event()).set()

    async def told(self, request: str) -> None:
        await self._told.setdefault(request, asyncio.Event()).wait()


class WeighedLog(MemoryLog):
    """Notes how many records each append to `events` had."""

    def __init__(self, identity: str, clock_ms: Callable[[], int]) -> None:
        super().__init__(identity, clock_ms)
        self.weights: list[int] = []

    async def append(self, at: TopicPartition, entries: Sequence[Entry], *, durable: bool) -> list[int]:
        offsets = await super().append(at, entries, durable=durable)
        if at == EVENTS:
            self.weights.append(len(entries))
        return offsets


class Bench:
    def __init__(self) -> None:
        self.now_ms = 1_000
        self.log: MemoryLog = WeighedLog("the log", lambda: self.now_ms)
        self.view = MemoryView()
        self.sent = Sent()
        self.may_refuse = True
        self.is_succeeded = False

    def runtime(self, owner: str = "a", release: str = "R") -> PartitionRuntime:
        replica = Replica(self.log, self.view, 0)
        lease = lambda: self.may_refuse, release, lambda: self.is_succeeded
        return PartitionRuntime(self.log, replica, owner, self.sent, *lease)

    async def ask(self, request: str, body: commands.Body, deadline_ms: int = 9_999) -> None:
        command = commands.Command(request, OWNER, "gateway", deadline_ms, body)
        await self.log.append(COMMANDS, [Entry(b"", commands.encode(command))], durable=False)

    async def decisions(self) -> list[events.Decision]:
        return [events.decode(each.value) for each in await self.log.read(EVENTS, 0)]

    async def replayed(self) -> dict[bytes, bytes]:
        """The rows of a fresh view."""
        fresh = MemoryView()
        await Replica(self.log, fresh, 0).catch_up()
        return fresh.rows

    async def facts(self) -> list[type[events.Event]]:
        return [type(each.event) for each in await self.decisions()]

    def errors(self) -> dict[str, str]:
        return {reply.request_id: reply.error for reply in self.sent.replies}


def bucket(name: str) -> commands.CreateBucket:
    return commands.CreateBucket(name, name * 32, "")


def bench(case: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        made = Bench()
        await made.log.create_topics(spec.ALL)
        await asyncio.wait_for(case(made), WAIT_S)

    asyncio.run(run())
