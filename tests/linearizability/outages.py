"""How long a store was gone for those who asked it."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

from tests.linearizability.recorder import Attempt


def longest_outage_s(attempts: Iterable[Attempt]) -> float:
    """From the start of a request to the first answer behind it, be it to that request or another; the longest there is.

    Requests that were still without an answer at the end count until the last of all has ended.
    """
    rows = list(attempts)
    answers = sorted(each.ended for each in rows if not each.error)
    end = max((each.ended for each in rows), default=0.0)
    longest = 0.0
    for each in rows:
        first = bisect_left(answers, each.started)
        longest = max(longest, (answers[first] if first < len(answers) else end) - each.started)
    return longest


def outages(attempts: Iterable[Attempt], by: Callable[[Attempt], Hashable]) -> dict[Hashable, float]:
    """The longest outage of each kind of request, as `by` groups them."""
    groups: dict[Hashable, list[Attempt]] = defaultdict(list)
    for each in attempts:
        groups[by(each)].append(each)
    return {name: longest_outage_s(group) for name, group in groups.items()}
