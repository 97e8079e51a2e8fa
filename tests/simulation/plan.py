"""What goes wrong, and when, is drawn before a world runs: so a failing run can be had again with fewer faults.

Each fault chooses what it needs by a seed of its own; without one of them the others do the same.
Each run takes only some kinds of faults, each more or less often: what needs one without another is met, too (Groce et al.,
"Swarm testing", 2012).
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

TAKEN = 0.6  # of the kinds
OFTEN = (1, 1, 4)


class Fault(NamedTuple):
    act: int  # or life: a part of the run
    at_s: float  # since that began
    kind: str
    seed: int  # of what it chooses

    def choices(self) -> random.Random:
        return random.Random(self.seed)

    def __str__(self) -> str:
        return f"act {self.act}, {self.at_s:8.3f} s: {self.kind} ({self.seed})"


def swarm(rng: random.Random, kinds: Mapping[str, float]) -> dict[str, float]:
    """Some kinds, at least one, with their weights."""
    taken = [kind for kind in kinds if rng.random() < TAKEN] or [rng.choice(list(kinds))]
    return {kind: kinds[kind] * rng.choice(OFTEN) for kind in taken}


def drawn(
    rng: random.Random, act: int, kinds: Mapping[str, float], until_s: float, between_s: Callable[[], float]
) -> Iterator[Fault]:
    """Faults of an act, in their order."""
    at_s = between_s()
    while at_s < until_s:
        [kind] = rng.choices(list(kinds), list(kinds.values()))
        yield one(rng, act, kind, at_s)
        at_s += between_s()


def one(rng: random.Random, act: int, kind: str, at_s: float = 0.0) -> Fault:
    return Fault(act, at_s, kind, rng.getrandbits(32))


Kinds = Sequence[Callable[[], Awaitable[None]]]  # methods; one that is there twice comes twice as often


def planned(rng: random.Random, together: Kinds, acts_s: Sequence[float], between_s: float, alone: Kinds) -> list[Fault]:
    """Several faults in each of the acts, and one alone in the last."""
    kinds = swarm(rng, Counter(each.__name__ for each in together))
    found: list[Fault] = []
    for act, act_s in enumerate(acts_s):
        found += drawn(rng, act, kinds, act_s, lambda: rng.random() * rng.choice([0.3, between_s]))
    return [*found, one(rng, len(acts_s), rng.choice(alone).__name__)]


async def carry_out(faults: Iterable[Fault], befall: Callable[[Fault], Awaitable[None]]) -> None:
    """Each at its time from now on, or when the one before is done."""
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    for fault in faults:
        await asyncio.sleep(max(0.0, start_s + fault.at_s - loop.time()))
        await befall(fault)
