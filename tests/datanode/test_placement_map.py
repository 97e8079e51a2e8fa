"""The map as its followers have it: always the highest epoch, whatever comes in which order."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest

from datanode.placement import AT, PlacementMap
from tests.datanode.bench import Bench, DeafLog, bench
from tests.virtual import now_ms
from topics.log import Entry
from topics.placement import Placement, encode


@asynccontextmanager
async def following(made: Bench) -> AsyncIterator[PlacementMap]:
    found = PlacementMap()
    running = asyncio.create_task(found.run(made.log))
    yield found
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def land(made: Bench, epochs: Iterable[int]) -> None:
    made.log.land(AT, [Entry(b"map", encode(Placement(epoch))) for epoch in epochs])


@pytest.mark.parametrize("together", [True, False])
def test_a_map_of_an_earlier_owner_that_comes_late_changes_nothing(together: bool) -> None:
    async def case(made: Bench) -> None:
        async with following(made) as found:
            for epochs in [[3, 5, 4]] if together else [[3], [5], [4]]:
                land(made, epochs)
                await asyncio.sleep(0.1)
            assert found.current.epoch == 5

    bench(case)


def test_who_waits_for_a_newer_map_is_told_and_only_then() -> None:
    async def case(made: Bench) -> None:
        async with following(made) as found:
            waiting = [asyncio.create_task(found.changed(epoch)) for epoch in (0, 3)]
            land(made, [3])
            await asyncio.sleep(0.1)
            assert [each.done() for each in waiting] == [True, False]
            land(made, [4])
            await asyncio.gather(*waiting)

    bench(case)


def test_a_map_that_is_trimmed_as_it_is_read_and_a_log_that_cannot_be_read_are_no_end() -> None:
    async def case(made: Bench) -> None:
        assert isinstance(made.log, DeafLog)
        made.log.deaf = 3
        async with following(made) as found:
            await asyncio.sleep(3)
            land(made, [1, 2])
            await made.log.trim(AT, 1)  # before the first was read
            await asyncio.sleep(0.1)
            assert found.current.epoch == 2

    bench(case, log=DeafLog("cluster", now_ms))
