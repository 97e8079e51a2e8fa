"""The map's way out of the control partition's view, and garbage on its way back to the volumes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from processors.machine import tables
from processors.memory import MemoryView
from processors.placement import AT, publish_placement
from tests.datanode.bench import Bench, bench
from topics import placement
from topics.placement import Placement


class Control:
    """Knob: `view`, None while another process owns the control partition."""

    def __init__(self, epoch: int = 1) -> None:
        self.view: MemoryView | None = MemoryView()
        self.decide(epoch)

    def decide(self, epoch: int) -> None:
        assert self.view is not None
        self.view.commit({tables.PLACEMENT_KEY: placement.encode(Placement(epoch))})


@asynccontextmanager
async def publishing(made: Bench, control: Control, told: list[int] | None = None) -> AsyncIterator[None]:
    on_map = lambda found: told.append(found.epoch) if told is not None else None  # noqa: E731
    running = asyncio.create_task(publish_placement(made.log, lambda: control.view, on_map))
    yield
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def published(made: Bench) -> list[int]:
    records = await made.log.read(AT, await made.log.earliest(AT))
    return [placement.decode(record.value).epoch for record in records]


def test_each_map_is_published_once_and_takes_the_place_of_the_one_before() -> None:
    async def case(made: Bench) -> None:
        control, told = Control(), list[int]()
        async with publishing(made, control, told):
            for epoch in (1, 2, 3):
                control.decide(epoch)
                await asyncio.sleep(1)
                assert await published(made) == [epoch]
            assert told == [1, 2, 3]

    bench(case)


def test_only_the_owner_publishes_and_one_that_owns_it_again_does_so_again() -> None:
    async def case(made: Bench) -> None:
        control, told = Control(), list[int]()
        async with publishing(made, control, told):
            await asyncio.sleep(1)
            owned, control.view = control.view, None
            await asyncio.sleep(1)
            assert told == [1]
            control.view = owned  # who owned it meanwhile may have published, and been cut off before it had
            await asyncio.sleep(1)
            assert told == [1, 1]

    bench(case)


def test_without_a_decision_there_is_no_map() -> None:
    async def case(made: Bench) -> None:
        control = Control()
        control.view = MemoryView()
        async with publishing(made, control):
            await asyncio.sleep(1)
            assert await published(made) == []

    bench(case)


def test_a_map_that_could_not_be_published_is_published_later() -> None:
    async def case(made: Bench) -> None:
        made.log.fail_next = 2
        async with publishing(made, Control()):
            await asyncio.sleep(3)
            assert await published(made) == [1]

    bench(case)
