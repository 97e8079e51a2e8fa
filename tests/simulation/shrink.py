"""The fewest faults with which a run still fails.

By ddmin (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002).
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def shrunk(whole: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A part of `whole` that fails, and that fails no more without any one of its elements."""
    left, parts = list(whole), 2
    while len(left) > 1:
        size = -(-len(left) // parts)
        complements = (left[:start] + left[start + size :] for start in range(0, len(left), size))
        fewer = next((each for each in complements if fails(each)), None)
        if fewer is not None:
            left, parts = fewer, max(parts - 1, 2)
        elif parts < len(left):
            parts = min(len(left), 2 * parts)
        else:
            break
    return [] if left and fails([]) else left
