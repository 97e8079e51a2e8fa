"""What of the history of one key has to be placed in an order, until when, and what all reads say of it together.

Reads of a value are not placed: they say until when it was written, and how long it stays.
"""

import math
from bisect import bisect_right
from typing import Literal, NamedTuple

from tests.linearizability.operations import LOOKS, Operation

ANYTHING = -1  # of a look that any value satisfies


class Placed(NamedTuple):
    """Something that the search places: an operation, with what the reads of its value say of it.

    `number` is its place in the list. `expected`: the number of the write whose value a replace needs, or which a look that
    found something (`other`) did not find; or ANYTHING.
    """

    kind: Literal["write", "create", "replace", "delete", "nothing", "other"]  # nothing: a read of it
    number: int
    started: float
    deadline: float  # it takes effect until then
    held: float  # its value stays until then
    must: bool  # False: it may have had no effect at all
    expected: int = ANYTHING
    leaves_nothing: bool = False  # a replace that deletes
    named_until: float = -math.inf  # the last deadline of what expects this value: then it is like any other
    wanted_until: float = -math.inf  # the last start of a look that may find this value, whether it is read or not

    @property
    def looks(self) -> bool:
        return self.kind in {"nothing", "other"}


def to_place(history: list[Operation]) -> list[Placed] | None:
    """None where a value was found that was not written before.

    Raises ValueError for a value that was written twice.
    """
    return _Key(history).placed()


class _Key:
    def __init__(self, history: list[Operation]) -> None:
        self._history = history
        self._writes: dict[str, Operation] = {}
        for each in history:
            if each.value is not None and each.kind in {"write", "create", "replace"}:
                if each.value in self._writes:
                    raise ValueError(f"{each.key}: {each.value} was written twice")
                self._writes[each.value] = each
        self._named: dict[str | None, float] = {}
        for each in history:
            if each.expected is not None:
                self._named[each.expected] = max(each.deadline, self._named.get(each.expected, -math.inf))
        self._looks = [each for each in history if each.kind == "refused" and each.ended is not None]
        self._first_end: dict[str, float] = {}  # of those that found a value
        self._last_start: dict[str, float] = {}

    def placed(self) -> list[Placed] | None:
        for each in self._history:
            if each.kind == "read" and each.ended is not None and each.value is not None:
                self._found(each.value, each.started, each.ended)
        self._find_replaced()
        if not self._first_end.keys() <= self._writes.keys():
            return None
        kept = [each for each in self._history if self._is_needed(each)]
        numbers = {each.value: number for number, each in enumerate(kept) if each.value is not None and _writes(each)}
        self._changes = self._overwritten()
        self._look_starts = sorted(each.started for each in self._looks)
        rows = [self._row(number, each, numbers) for number, each in enumerate(kept)]
        return None if any(each.deadline < each.started for each in rows) else rows

    def _overwritten(self) -> list[tuple[float, float]]:
        """The starts of all that had an effect, and until when the first of what began then or later had it."""
        found, first = [], math.inf
        for each in sorted(self._history, key=lambda each: each.started, reverse=True):
            if each.kind not in LOOKS and self._is_sure(each):
                first = min(first, self._deadline(each))
                found.append((each.started, first))
        return found[::-1]

    def _found(self, value: str, started: float, deadline: float) -> bool:
        """Whether that says more of when the value was there."""
        first, last = self._first_end.get(value, math.inf), self._last_start.get(value, -math.inf)
        self._first_end[value], self._last_start[value] = min(first, deadline), max(last, started)
        return deadline < first or started > last

    def _find_replaced(self) -> None:
        """A replace that had an effect found its value, too; so may the one whose value that was have had one."""
        replaces = [each for each in self._history if each.kind == "replace"]
        says_more = True
        while says_more:
            says_more = False
            for each in replaces:
                if each.expected is not None and self._is_sure(each):
                    says_more |= self._found(each.expected, each.started, self._deadline(each))

    def _is_sure(self, each: Operation) -> bool:
        """Whether it had an effect."""
        return each.ended is not None or (each.value is not None and each.value in self._first_end)

    def _deadline(self, each: Operation) -> float:
        return min(each.deadline, self._first_end.get(each.value, math.inf)) if each.value is not None else each.deadline

    def _is_needed(self, each: Operation) -> bool:
        """What had no effect for all that is known is placed only where it may explain what was found."""
        if each.kind in LOOKS:
            return each.ended is not None and (each.value is None or each.kind == "refused")
        if each.kind == "replace" and each.expected not in self._writes:
            return False  # a value that nobody wrote is never there
        if self._is_sure(each) or each.value is None or each.value in self._named:
            return True
        return any(look.ended is not None and each.started <= look.ended for look in self._looks)

    def _row(
        self,
        number: int,
        each: Operation,
        numbers: dict[str, int],
    ) -> Placed:
        expected = numbers.get(each.expected, ANYTHING) if each.expected is not None else ANYTHING
        must = self._is_sure(each)
        if each.kind == "read":
            return Placed("nothing", number, each.started, each.deadline, -math.inf, must)
        if each.kind == "refused":
            return Placed("other", number, each.started, each.deadline, -math.inf, must, expected)
        if each.kind == "write" and each.value is None:
            return Placed("delete", number, each.started, each.deadline, -math.inf, must)
        deadline = self._deadline(each)
        return Placed(
            each.kind,
            number,
            each.started,
            deadline,
            self._last_start.get(each.value, -math.inf) if each.value is not None else -math.inf,
            must,
            expected,
            each.value is None,
            self._named.get(each.value, -math.inf),
            self._wanted_until(deadline),
        )

    def _wanted_until(self, deadline: float) -> float:
        """What was placed until then is overwritten by whatever began behind it; looks that begin later do not see it."""
        begun = bisect_right(self._changes, deadline, key=lambda pair: pair[0])
        overwritten = self._changes[begun][1] if begun < len(self._changes) else math.inf
        looks = bisect_right(self._look_starts, overwritten)
        return self._look_starts[looks - 1] if looks else -math.inf


def _writes(each: Operation) -> bool:
    return each.kind in {"write", "create", "replace"}
