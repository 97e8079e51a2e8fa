"""Whether a node says that its disk fails: what is a verdict, what is not, who hears of it."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from datanode.clock import LogClock
from datanode.heartbeat import AT, Heart, Said
from datanode.service import NodeService
from datanode.verdict import FAILING_S
from tests.datanode.bench import IDENTITY, OWN, Bench, bench, payload
from tests.disks.faulty import FaultyDisk
from tests.virtual import now_ms
from topics import heartbeats
from topics.heartbeats import Heartbeat
from topics.secret import ClusterSecret

SECRET = ClusterSecret(b"a secret of a test cluster")


@asynccontextmanager
async def serving(made: Bench) -> AsyncIterator[NodeService]:
    made.place([OWN], [OWN])
    service = NodeService(IDENTITY, made.log, made.store, made.map, made.peers, made.submit, now_ms)
    heart = Heart(made.log, service, Said("http://own", "rack", 100), SECRET, LogClock(now_ms))
    running = [asyncio.create_task(each) for each in (service.run(), heart.run())]
    await asyncio.sleep(1)
    yield service
    assert not any(task.done() for task in running)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def told(made: Bench) -> str:
    """By the latest heartbeat."""
    last = heartbeats.decode((await made.log.read(AT, 0))[-1].value, SECRET)
    assert isinstance(last, Heartbeat)
    return last.disk_failure


def breaks(disk: FaultyDisk) -> None:
    disk.is_broken = True


def read_only(disk: FaultyDisk) -> None:
    disk.is_broken, disk.broken_errno = True, errno.EROFS


def hangs(disk: FaultyDisk) -> None:
    disk.hang()


@pytest.mark.parametrize(
    ("fault", "after_s", "why"),
    [
        (breaks, 21, "writing fails: Input/output error"),
        (read_only, 21, "Read-only file system"),
        (hangs, 37, "not ended for 30 s"),
    ],
)
@pytest.mark.parametrize("is_busy", [False, True])
def test_a_disk_that_fails_is_told_until_it_works_again(
    fault: Callable[[FaultyDisk], None], after_s: float, why: str, is_busy: bool
) -> None:
    async def case(made: Bench) -> None:
        async with serving(made) as service:
            await made.writes(payload(0, b"before"))
            await asyncio.sleep(2)
            assert service.positions == {0: 1}
            fault(made.faults)
            if is_busy:
                await made.writes(payload(1, b"one"))
            await asyncio.sleep(10)
            assert (service.disk_failure, await told(made), service.unready()) == ("", "", [])
            await asyncio.sleep(after_s - 10)
            assert why in service.disk_failure
            assert await told(made) == service.disk_failure
            assert service.unready() == [f"its disk fails: {service.disk_failure}"]
            assert service.needs_restart() == [f"the disk of data node own fails: {service.disk_failure}"]
            assert service.positions == {0: 1}
            made.faults.heal()
            await asyncio.sleep(12)
            assert (service.disk_failure, await told(made), service.unready(), service.needs_restart()) == ("", "", [], [])
            assert service.positions == {0: 2 if is_busy else 1}

    bench(case)


def is_full(made: Bench) -> None:
    made.faults.room_bytes = 0


def has_a_bad_sector(made: Bench) -> None:
    made.break_sector(1)


def is_slow(made: Bench) -> None:
    made.faults.slow_s = 10.0


@pytest.mark.parametrize("fault", [is_full, has_a_bad_sector, is_slow])
def test_what_is_no_failure_of_the_disk(fault: Callable[[Bench], None]) -> None:
    async def case(made: Bench) -> None:
        async with serving(made) as service:
            await made.writes(payload(1, bytes(10_000)))
            await asyncio.sleep(2)
            fault(made)
            await made.writes(payload(2, bytes(10_000)))
            for _ in range(100):
                await asyncio.sleep(1)
                assert service.disk_failure == ""

    bench(case)


def test_an_index_that_cannot_be_written_is_a_failure_too() -> None:
    async def case(made: Bench) -> None:
        async with serving(made) as service:
            honest = made.index.sync

            def sync() -> None:
                raise OSError(5, "IO error: While fdatasync")

            made.index.sync = sync  # type: ignore[method-assign]
            await made.writes(payload(1, b"one"))
            await asyncio.sleep(20)
            assert service.disk_failure == "settling the volumes fails: IO error: While fdatasync"
            made.index.sync = honest  # type: ignore[method-assign]
            await asyncio.sleep(3)
            assert (service.disk_failure, service.positions) == ("", {0: 1})

    bench(case)


def test_a_verdict_by_settling_ends_though_nothing_moves_any_more() -> None:
    """The node is out for it, and has no group left."""

    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN, "p"])
        async with serving(made) as service:
            await made.writes(payload(1, b"x"))
            made.index.fails = True
            await asyncio.sleep(2 * FAILING_S)
            assert "settling the volumes fails" in service.disk_failure
            made.place(["p", "q"], ["p", "q"])
            made.index.fails = False
            await asyncio.sleep(10)
            assert (service.member.replicas, service.disk_failure) == ({}, "")

    bench(case)
