"""300 seeds hold, and planted bugs are caught."""

import logging

import pytest

from tests.simulation.bugs import PLANTS, Plant
from tests.simulation.world import World

SEEDS = 300
SLICE = 25
SEEDS_TO_CATCH_A_BUG = 500


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.disable(logging.CRITICAL)


@pytest.mark.parametrize("first", range(0, SEEDS, SLICE))
def test_seeds_hold(first: int) -> None:
    for seed in range(first, first + SLICE):
        try:
            World(seed).run()
        except Exception as error:
            raise AssertionError(f"repeat with: python -m tests.simulation --seeds 1 --first {seed}") from error


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_catches(plant: Plant) -> None:
    for seed in range(SEEDS_TO_CATCH_A_BUG):
        with pytest.MonkeyPatch.context() as patch:
            world = World(seed)
            plant(patch, world)
            try:
                world.run()
            except Exception:  # noqa: BLE001 - an invariant, or a check of the store itself, as loud
                return
    raise AssertionError(f"{plant.__name__} got past {SEEDS_TO_CATCH_A_BUG} seeds")
