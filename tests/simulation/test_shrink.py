"""What is left of a failing run's faults."""

from collections.abc import Sequence

import pytest

from tests.simulation.shrink import shrunk


@pytest.mark.parametrize("needed", [set(), {3}, {0, 19}, {4, 5, 6}, set(range(20))])
def test_what_is_needed_is_left(needed: set[int]) -> None:
    tries = 0

    def fails(some: Sequence[int]) -> bool:
        nonlocal tries
        tries += 1
        return needed <= set(some)

    assert set(shrunk(range(20), fails)) == needed
    assert tries < 20 * 21


def test_one_of_two_is_enough() -> None:
    assert len(shrunk(range(20), lambda some: bool({3, 17} & set(some)))) == 1
