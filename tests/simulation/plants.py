"""Planted bugs: proof that invariants can fail. A plant is caught by an invariant that it names, and by nothing else."""

import contextvars
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, Protocol

import pytest

from tests.simulation.invariants import InvariantBroken

SEEDS_TO_CATCH_A_BUG = 300
Patch = pytest.MonkeyPatch


class Runs(Protocol):
    def run(self) -> None:
        """Raises `InvariantBroken`."""
        ...


class Plant(NamedTuple):
    bug: Callable[[Patch, Any], None]  # changes product code, or the world before it runs
    breaks: type[InvariantBroken] | tuple[type[InvariantBroken], ...]  # any of them may be the first to show it
    seen_at: int = 0  # a seed that is tried first, to save time: any other may catch it as well
    is_rare: bool = False  # takes minutes to find: hunted nightly

    @property
    def name(self) -> str:
        return self.bug.__name__

    def seeds(self) -> Iterable[int]:
        return dict.fromkeys((self.seen_at, *range(SEEDS_TO_CATCH_A_BUG)))


def within(patch: Patch, owner: type, name: str) -> Callable[[], bool]:
    """Whether who asks runs on behalf of that method.

    For a bug that is there for only so long: where the method is awaited a patch would not do, as two that overlap end in
    the order in which they began, and the second puts back what the first has planted.
    """
    inside = contextvars.ContextVar(name, default=False)
    honest: Callable[..., Awaitable[Any]] = getattr(owner, name)

    async def noted(*arguments: Any) -> Any:
        before = inside.get()
        inside.set(True)
        try:
            return await honest(*arguments)
        finally:
            inside.set(before)

    patch.setattr(owner, name, noted)
    return inside.get


def hunt(make: Callable[[int], Runs], plant: Plant) -> int:
    """The seed that catches it. Raises `AssertionError` if none does, and what is no broken invariant as it comes.

    Another invariant than those named may break first in one world: that is no catch, and the next seed is tried.
    """
    for seed in plant.seeds():
        with pytest.MonkeyPatch.context() as patch:
            world = make(seed)
            plant.bug(patch, world)
            try:
                world.run()
            except plant.breaks:
                return seed
            except InvariantBroken:
                continue
    raise AssertionError(f"{plant.name} got past {SEEDS_TO_CATCH_A_BUG} seeds")
