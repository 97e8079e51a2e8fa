"""When an operation of unknown outcome can have had its effect at the latest: else it stays possible to a history's end.

A write is a command in the partition of its bucket, and commands take effect in the order of the log. Once the process that
took a request is dead, it appends nothing for it any more. So whatever write of the same bucket began later, and was done,
came behind it: when that was acknowledged, the other had taken its effect, or never will.
"""

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from tests.linearizability.operations import LOOKS, Operation


def limit(operations: Sequence[Operation], appended_until: Callable[[Operation], float]) -> list[Operation]:
    """`appended_until`: a time from which on no command of an operation reaches the log; infinite where none is known."""
    done: dict[str, list[Operation]] = defaultdict(list)
    for each in operations:
        if each.kind not in LOOKS and each.ended is not None:
            done[_bucket(each)].append(each)
    behind = {bucket: _first_ends(writes) for bucket, writes in done.items()}
    found = []
    for each in operations:
        if each.ended is None and each.kind not in LOOKS:
            ends = behind.get(_bucket(each), [])
            at = bisect_right(ends, appended_until(each), key=lambda pair: pair[0])
            found.append(each._replace(latest=ends[at][1] if at < len(ends) else math.inf))
        else:
            found.append(each)
    return found


def next_of(deaths: Sequence[float]) -> Callable[[Operation], float]:
    """For one process that serves all: it is dead at these times, in their order, and then another starts."""

    def appended_until(each: Operation) -> float:
        at = bisect_left(deaths, each.started)
        return deaths[at] if at < len(deaths) else math.inf

    return appended_until


def _bucket(each: Operation) -> str:
    return each.key.partition("/")[0]


def _first_ends(writes: Iterable[Operation]) -> list[tuple[float, float]]:
    """The starts in their order, with the first end of all that began then or later."""
    found, first = [], math.inf
    for each in sorted(writes, key=lambda each: each.started, reverse=True):
        first = min(first, each.deadline)
        found.append((each.started, first))
    return found[::-1]
