"""A seed does the same in every process, whatever ran there before."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.simulation.alike import digest
from tests.simulation.leftovers import changed, code
from tests.simulation.plants import within
from tests.simulation.worlds import WORLDS
from tests.virtual import run
from topics.journal import Segment

SEEDS = (0, 5)
TEXT_HASHES = "271828"  # otherwise than here


@pytest.mark.parametrize("name", WORLDS)
def test_a_seed_does_the_same_after_others_and_in_another_process(name: str) -> None:
    command = [sys.executable, "-m", "tests.simulation.alike", name, *map(str, reversed(SEEDS))]
    with subprocess.Popen(
        command, env=os.environ | {"PYTHONHASHSEED": TEXT_HASHES}, stdout=subprocess.PIPE, text=True
    ) as other:
        here = [digest(name, seed) for seed in SEEDS]
        again = digest(name, SEEDS[0])
        there, _ = other.communicate()
    assert again == here[0]
    assert there.split() == here[::-1]


class Works:
    async def work(self, end: asyncio.Event) -> bool:
        await end.wait()
        return False


def test_a_bug_that_is_there_for_a_while_is_there_for_nobody_else() -> None:
    """Two that overlap end in the order in which they began."""
    honest = Works.work

    async def overlap(is_within: Callable[[], bool]) -> None:
        ends = asyncio.Event(), asyncio.Event()
        tasks = [asyncio.create_task(Works().work(end)) for end in ends]
        for end, task in zip(ends, tasks, strict=True):
            await asyncio.sleep(0)
            assert not is_within()
            end.set()
            assert await task

    with pytest.MonkeyPatch.context() as patch:

        async def work(_: Works, end: asyncio.Event) -> bool:
            await end.wait()
            return is_within()

        patch.setattr(Works, "work", work)
        is_within = within(patch, Works, "work")
        run(overlap(is_within))
    assert Works.work is honest


def test_what_a_plant_leaves_behind_is_told() -> None:
    before = code()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segment, "wipe", None)
        assert changed(before) == ["topics.journal.Segment.wipe"]
    assert changed(before) == []
