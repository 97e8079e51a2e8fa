"""What each role says of its health: the truth, with the reason."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette

from bucketlog import server
from bucketlog.health import Health, health_routes
from bucketlog.work import Work
from datanode import heartbeat
from datanode.clock import LogClock
from datanode.heartbeat import Heart, Said
from datanode.member import Identity, NodeReplaced
from datanode.routing import has_quorum
from processors import remote
from processors.leases import AT, Leases
from processors.memory import MemoryView
from processors.remote import OwnerReads
from processors.replica import Replica, ViewMismatch
from processors.runtime import PartitionRuntime
from tests import virtual
from tests.bucketlog.http import get, served
from tests.unread import Unread
from topics import owners, spec
from topics.log import Entry, UnknownRecord
from topics.memory import MemoryLog
from topics.owners import LEASE_S, Lease
from topics.placement import Group, Node, Placement, State
from topics.secret import ClusterSecret
from topics.spec import BUCKET_PARTITIONS


def with_log(case: Callable[[MemoryLog], Awaitable[None]]) -> None:
    async def run() -> None:
        log = MemoryLog("the log", lambda: 1)
        await log.create_topics(spec.CLUSTER)
        await case(log)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "restart"),
    [
        (ViewMismatch("another log"), []),
        (UnknownRecord("of a newer release"), []),
        (NodeReplaced("another process"), []),
        (KeyError("a bug"), ["it stopped"]),
        (None, ["it stopped"]),
    ],
)
def test_what_ended_is_told_and_asks_for_a_restart_only_if_that_may_help(
    error: Exception | None, restart: list[str]
) -> None:
    async def case() -> None:
        work, ended = Work(), asyncio.Event()

        async def fail() -> None:
            ended.set()
            if error is not None:
                raise error

        async def go_on() -> None:
            await asyncio.Event().wait()

        work.start("the other", go_on())
        work.start("it", fail())
        assert (work.ended(), work.needs_restart()) == ([], [])
        await ended.wait()
        await asyncio.sleep(0)
        assert (work.ended(), work.needs_restart()) == (["it stopped"], restart)
        await work.end()

    asyncio.run(case())


def test_the_reasons_are_in_the_answer() -> None:
    async def case() -> None:
        reasons: list[str] = []
        app = Starlette(routes=health_routes(Health(lambda: reasons[:1], lambda: reasons)))
        async with served(app) as endpoint:
            assert await asyncio.to_thread(get, f"{endpoint}/healthz") == (200, "ok\n")
            assert await asyncio.to_thread(get, f"{endpoint}/readyz") == (200, "ready\n")
            reasons += ["this", "that"]
            assert await asyncio.to_thread(get, f"{endpoint}/healthz") == (503, "this\n")
            assert await asyncio.to_thread(get, f"{endpoint}/readyz") == (503, "this\nthat\n")

    asyncio.run(case())


class Owners(OwnerReads):
    async def _attempt(self, endpoint: str, partition: int, operation: str, arguments: tuple[Any, ...]) -> Any:
        raise AssertionError("nothing is asked here")

    async def folded(self, lease: Lease, log: MemoryLog) -> None:
        """Returns when it is known."""
        await log.append(AT, [Entry(b"", owners.encode(lease))], durable=True)
        for _ in range(5):
            await asyncio.sleep(0)

    def end(self) -> None:
        self._following.cancel()


def test_a_gateway_is_ready_when_owners_of_all_partitions_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(log: MemoryLog) -> None:
        every = dict.fromkeys(range(BUCKET_PARTITIONS), 1)
        await log.append(AT, [Entry(b"", owners.encode(Lease("gone", "http://gone", every)))], durable=True)
        reads = Owners(log)
        await asyncio.sleep(0)  # it begins to follow
        await reads.folded(Lease("there", "http://there", {0: 2, 1: 2}), log)
        (why,) = reads.unready()
        assert why.startswith("nobody answers for partitions 2, 3, ")
        await reads.folded(Lease("there", "http://there", dict.fromkeys(every, 2)), log)
        assert reads.unready() == []
        with monkeypatch.context() as patch:
            patch.setattr(remote, "DEADLINE_S", 0.0)  # as if it had been silent for so long
            assert len(reads.unready()) == 1
        await reads.folded(Lease("there", "", {}), log)  # it has left
        assert len(reads.unready()) == 1
        reads.end()

    with_log(case)


def test_a_gateway_follows_owners_again_when_that_failed() -> None:
    async def case() -> None:
        log = Unread("the log", virtual.now_ms)
        await log.create_topics(spec.CLUSTER)
        reads = Owners(log)
        await asyncio.sleep(0.1)
        log.fails = True
        await reads.folded(Lease("there", "http://there", {0: 2}), log)
        log.fails = False
        await asyncio.sleep(1)
        assert reads.owners.endpoint(0) == "http://there"
        await reads.folded(Lease("next", "http://next", {0: 3}), log)
        assert reads.owners.endpoint(0) == "http://next"
        reads.end()

    virtual.run(case())


def test_a_processor_that_the_log_does_not_hear_knows_it() -> None:
    async def case(log: MemoryLog) -> None:
        now = [100.0]
        leases = Leases(log, "own", "http://own", lambda: now[0])
        assert not leases.is_heard
        running = asyncio.create_task(leases.run())
        await leases.take(3, 1)
        assert leases.is_heard
        now[0] += LEASE_S
        assert not leases.is_heard
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    with_log(case)


class Nobody:
    outlives_owner = False

    def send(self, gateway: str, reply: object) -> None:
        raise AssertionError("nothing is decided here")


def test_a_view_is_current_when_it_has_what_there_was_at_its_start() -> None:
    async def case(log: MemoryLog) -> None:
        owner, follower = (Replica(log, MemoryView(), 0) for _ in range(2))
        await PartitionRuntime(log, owner, "own", Nobody()).claim()
        assert (owner.is_current, follower.is_current) == (True, False)
        following = asyncio.create_task(follower.follow())
        while not follower.is_current:
            assert not following.done()
            await asyncio.sleep(0)
        assert follower.meta.offset == owner.meta.offset == 1
        following.cancel()

    with_log(case)


def test_a_data_node_whose_heartbeats_do_not_get_through_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.0)
    service: Any = SimpleNamespace(
        own=Identity("node", "i", "b"),
        used_bytes=1,
        positions={},
        behind={},
        store=SimpleNamespace(is_read_only=False),
        disk_failure="",
    )

    async def case(log: MemoryLog) -> None:
        log.fail_next = 3
        secret, clock = ClusterSecret(b"a secret of a test cluster"), LogClock(lambda: 1)
        heart = Heart(log, service, Said("http://node", "rack", 10), secret, clock)
        beating = asyncio.create_task(heart.run())
        while log.fail_next:
            await asyncio.sleep(0)
            assert heart.unready() == ["no heartbeat reached the log for 5 s"]
        async for _ in log.follow(heartbeat.AT, 0):
            break
        await asyncio.sleep(0)  # until it has heard so itself
        assert heart.unready() == []
        beating.cancel()

    with_log(case)


@pytest.mark.parametrize(("down", "is_enough"), [("", True), ("a", True), ("ab", False)])
def test_a_quorum_of_some_group_is_enough_and_full_nodes_count(down: str, is_enough: bool) -> None:
    nodes = {
        name: Node(name, "i", "b", "", name, 1, State.DOWN if name in down else State.UP, is_full=True) for name in "abc"
    }
    groups = [Group([]), Group(["a"]), Group(["a", "b", "c"])]
    assert has_quorum(Placement(1, 3, nodes, groups)) is is_enough


def test_no_map_is_no_quorum() -> None:
    assert not has_quorum(Placement())


def test_a_role_that_still_starts_closes_the_connection_of_whom_it_refuses() -> None:
    """Who sends `Expect: 100-continue` and is told 503 sends no body: its next request would pass for one."""

    async def case() -> bytes:
        async with served(server._starting) as endpoint:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(endpoint.rpartition(":")[2]))
            writer.write(b"PUT /photos/k HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 5)  # to its end
            writer.close()
            return answer

    assert asyncio.run(case()).startswith(b"HTTP/1.1 503")
