"""What a data node says each second, and when it says of itself that it is not heard."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from datanode.clock import LogClock
from datanode.heartbeat import AT, SILENT_S, Heart, Said
from datanode.service import NodeService
from tests.datanode.bench import IDENTITY, OWN, Bench, bench, claim, payload
from tests.virtual import now_ms
from topics import heartbeats
from topics.heartbeats import Heartbeat
from topics.secret import ClusterSecret

SECRET = ClusterSecret(b"a secret of a test cluster")


@asynccontextmanager
async def beating(made: Bench, clock_ms: Callable[[], int] = now_ms) -> AsyncIterator[Heart]:
    service = NodeService(IDENTITY, made.log, made.store, made.map, made.peers, made.submit, now_ms)
    heart = Heart(made.log, service, Said("http://own", "rack", 100), SECRET, LogClock(clock_ms))
    running = [asyncio.create_task(each) for each in (service.run(), heart.run())]
    yield heart
    assert not any(task.done() for task in running)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


async def said(made: Bench) -> list[Heartbeat]:
    found = [heartbeats.decode(record.value, SECRET) for record in await made.log.read(AT, 0)]
    return [each for each in found if isinstance(each, Heartbeat)]


def test_each_second_it_says_who_it_is_and_how_far() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN], [OWN])
        await made.writes(payload(1, b"one"), claim(2, b"large", "p"))
        async with beating(made):
            await asyncio.sleep(5)
            beats = await said(made)
            assert len(beats) == 5
            last = beats[-1]
            assert (last.node, last.incarnation, last.boot) == tuple(IDENTITY)
            assert (last.endpoint, last.domain, last.cluster, last.capacity_bytes) == ("http://own", "rack", "cluster", 100)
            assert (last.positions, last.behind, last.is_full) == ({0: 1}, {0: 1}, False)
            assert abs(last.clock_ms - now_ms()) < 1_100
            assert last.used_bytes > 0
            made.fill()
            await asyncio.sleep(1)
            assert (await said(made))[-1].is_full

    bench(case)


def test_a_heartbeat_that_cannot_be_sent_is_followed_by_the_next_and_long_silence_is_told() -> None:
    async def case(made: Bench) -> None:
        async with beating(made) as heart:
            await asyncio.sleep(1)
            assert heart.unready() == []
            made.log.fail_next = int(SILENT_S) + 2
            await asyncio.sleep(SILENT_S + 1)
            assert heart.unready() == ["no heartbeat reached the log for 5 s"]
            await asyncio.sleep(3)
            assert heart.unready() == []

    bench(case)


@pytest.mark.parametrize(("ahead_s", "told"), [(29, ""), (40, "40 s ahead of the log's"), (-40, "40 s behind the log's")])
def test_a_wrong_clock_is_told_where_it_can_be_set(ahead_s: int, told: str, caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Bench) -> None:
        async with beating(made, lambda: now_ms() + ahead_s * 1000):
            await asyncio.sleep(3)

    bench(case)
    assert ("this machine's clock is" in caplog.text) == bool(told)
    assert told in caplog.text


def test_the_logs_clock_goes_on_by_a_clock_that_nobody_sets() -> None:
    own_ms, elapsed_s = 1_000_000, 5.0
    clock = LogClock(lambda: own_ms, lambda: elapsed_s)
    assert clock() == 1_000_000
    assert clock.compare(own_ms, 1_000_000 - 30_000) == 0  # as far off as may be
    assert clock.compare(own_ms, 1_000_000 + 61_000) == -61
    own_ms += 3_600_000  # it is set
    elapsed_s += 2
    assert clock() == 1_063_000
