"""What one process does with partitions: it follows, owns, gives back, and stops what it cannot read."""

import asyncio
from collections.abc import Awaitable, Callable

from processors.leases import Leases
from processors.machine import tables
from processors.memory import MemoryView
from processors.ownership import Ownership
from tests import virtual
from tests.processors.bench import COMMANDS, Sent, bucket
from topics import commands, spec
from topics.log import Entry
from topics.memory import MemoryLog
from topics.owners import LEASE_S, RENEW_S
from topics.spec import TopicPartition

WAIT_S = 5.0


class Process:
    def __init__(self, log: MemoryLog, name: str) -> None:
        self.sent = Sent()
        self.leases = Leases(log, name, f"http://{name}", asyncio.get_running_loop().time)
        self.ownership = Ownership(log, lambda _: MemoryView(), name, self.leases, self.sent)
        self.ownership.start()
        self._renewing = asyncio.create_task(self.leases.run())

    def fall_silent(self) -> None:
        self._renewing.cancel()

    async def close(self) -> None:
        await self.ownership.close()
        self._renewing.cancel()


def two(case: Callable[[MemoryLog, Process, Process], Awaitable[None]]) -> None:
    async def run() -> None:
        log = MemoryLog("the log", lambda: 1_000)
        await log.create_topics(spec.CLUSTER)
        first, second = Process(log, "a"), Process(log, "b")
        await asyncio.wait_for(case(log, first, second), WAIT_S)
        await first.close()
        await second.close()

    asyncio.run(run())


async def ask(log: MemoryLog, request: str, name: str, partition: int = 0) -> None:
    command = commands.Command(request, "root", "gateway", 9_999, bucket(name))
    await log.append(TopicPartition("commands", partition), [Entry(b"", commands.encode(command))], durable=False)


async def becomes(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - a view tells nobody that it changed
        await asyncio.sleep(0.001)


def test_who_does_not_own_a_partition_follows_it() -> None:
    async def case(log: MemoryLog, first: Process, second: Process) -> None:
        await first.ownership.gained({0})
        await ask(log, "R1", "x")
        await first.sent.told("R1")
        await becomes(lambda: tables.bucket(second.ownership.views[0], "x") is not None)
        assert (first.leases.is_held(0), second.leases.is_held(0)) == (True, False)

    two(case)


def test_a_partition_that_is_given_back_is_followed_again_and_its_next_owner_tells_again() -> None:
    async def case(log: MemoryLog, first: Process, second: Process) -> None:
        await first.ownership.gained({0})
        await ask(log, "R1", "x")
        await first.sent.told("R1")
        await first.ownership.lost({0})
        await second.ownership.gained({0})
        await second.sent.told("R1")  # its gateway may not have heard of it
        assert not first.leases.is_held(0)
        await ask(log, "R2", "y")
        await second.sent.told("R2")
        await becomes(lambda: tables.bucket(first.ownership.views[0], "y") is not None)

    two(case)


def test_who_lost_a_partition_owns_it_until_another_claims_it_and_then_follows() -> None:
    async def case(log: MemoryLog, first: Process, second: Process) -> None:
        await first.ownership.gained({0})
        await ask(log, "R0", "w")
        await first.sent.told("R0")
        await first.ownership.lost({0})
        await ask(log, "R1", "x")
        await first.sent.told("R1")
        assert first.leases.is_held(0)
        await second.ownership.gained({0})
        await second.sent.told("R1")  # without a command that would show the first one that it is fenced
        await becomes(lambda: second.leases.is_held(0) and 0 not in first.ownership.runtimes)
        assert not first.leases.is_held(0)
        await ask(log, "R2", "y")
        await second.sent.told("R2")
        await becomes(lambda: tables.bucket(first.ownership.views[0], "y") is not None)
        await first.ownership.gained({0})
        await ask(log, "R3", "z")
        await first.sent.told("R3")

    two(case)


def test_who_leaves_serves_until_another_has_taken_over() -> None:
    async def case(log: MemoryLog, first: Process, second: Process) -> None:
        await first.ownership.gained({0})
        await becomes(lambda: not first.leases.is_alone)  # the second one has spoken
        await first.ownership.lost({0})
        leaving = asyncio.create_task(first.ownership.hand_over())
        await ask(log, "R1", "x")
        await first.sent.told("R1")
        assert not leaving.done()
        await second.ownership.gained({0})
        await leaving
        await becomes(lambda: second.leases.is_held(0))

    two(case)


def test_who_is_alone_leaves_at_once() -> None:
    async def case(log: MemoryLog, first: Process, second: Process) -> None:
        await first.ownership.gained({0})
        await becomes(lambda: not first.leases.is_alone)
        await second.ownership.close()
        await becomes(lambda: first.leases.is_alone)
        await first.ownership.lost({0})
        await first.ownership.hand_over()
        assert first.leases.is_held(0)

    two(case)


def test_another_takes_what_the_owner_of_fell_silent() -> None:
    async def case() -> None:
        log = MemoryLog("the log", lambda: 1_000)
        await log.create_topics(spec.CLUSTER)
        first, second = Process(log, "a"), Process(log, "b")
        await first.ownership.gained({0})
        await asyncio.sleep(2 * LEASE_S)
        assert (first.leases.is_held(0), 0 in second.ownership.runtimes) == (True, False)
        first.fall_silent()
        await first.ownership.lost({0})
        await asyncio.sleep(LEASE_S - RENEW_S)
        assert 0 not in second.ownership.runtimes
        await asyncio.sleep(3 * RENEW_S)
        assert second.leases.is_held(0)
        await ask(log, "R1", "x")
        await second.sent.told("R1")
        await first.close()
        await second.close()

    virtual.run(case())


def test_what_no_codec_knows_stops_one_partition() -> None:
    async def case(log: MemoryLog, first: Process, second: Process) -> None:
        await first.ownership.gained({0, 1})
        await log.append(COMMANDS, [Entry(b"", b'{"version": 99}')], durable=False)
        await ask(log, "R0", "x", 0)
        await ask(log, "R1", "y", 1)
        await first.sent.told("R1")
        await becomes(lambda: 0 not in first.ownership.runtimes)
        assert [each.request_id for each in first.sent.replies] == ["R1"]
        await log.append(TopicPartition("events", 2), [Entry(b"", b"?")], durable=True)
        await second.ownership.gained({2, 3})
        await ask(log, "R3", "z", 3)
        await second.sent.told("R3")

    two(case)
