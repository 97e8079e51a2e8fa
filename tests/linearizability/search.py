"""Whether there is an order for what has to be placed: see `checker` for the idea.

Nothing is placed before it must be, except
- looks, which change nothing: as soon as what they found is there;
- writes that nothing needs any more, which go for nothing right before another.
At its deadline an operation is placed, behind any others that have begun. Of those which are alike the one that expires
first is taken.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tests.linearizability.placing import Placed


class Configuration(NamedTuple):
    value: int | None  # number of the write that made it
    done: frozenset[int]  # what took effect and has not reached its deadline
    spent: frozenset[int]  # the same of what need not have any


START = Configuration(None, frozenset(), frozenset())


class Search:
    def __init__(self, placed: Sequence[Placed]) -> None:
        # behind all of them a write that stands for any that nothing needs any more
        self._all = [*placed, Placed("write", len(placed), -math.inf, -math.inf, -math.inf, must=True)]
        self._now = -math.inf
        self._waiting: dict[int, Placed] = {}  # started, and not at its deadline
        self._looks: dict[int, Placed] = {}  # of these

    def succeeds(self) -> bool:
        *placed, any_write = self._all
        starts = [(each.started, 0, each.number) for each in placed]
        ends = [(each.deadline, 1, each.number) for each in placed if each.deadline < math.inf]
        configurations = {START}
        for now, is_end, number in sorted(starts + ends):
            self._now, one = now, self._all[number]
            if not is_end:
                self._waiting[number] = one
                if one.looks:
                    self._looks[number] = one
                    configurations = {self._looked(each) for each in configurations}
                continue
            reached = {each for before in configurations for each in self._placing(one, before)}
            if not one.must:
                reached |= configurations
            del self._waiting[number]
            self._looks.pop(number, None)
            without = {number}
            configurations = _best(
                {
                    Configuration(any_write.number if self._is_any(v) else v, done - without, spent - without)
                    for v, done, spent in reached
                }
            )
            if not configurations:
                return False
        return True

    def _placing(self, one: Placed, start: Configuration) -> Iterator[Configuration]:
        """All that can be reached with `one` as the last that is placed."""
        seen, todo = {start}, [start]
        while todo:
            at = todo.pop()
            if one.number in at.done or one.number in at.spent:
                yield at
                continue
            for after in self._next(one, at):
                if after not in seen:
                    seen.add(after)
                    todo.append(after)

    def _next(self, one: Placed, at: Configuration) -> Iterator[Configuration]:
        """What may come right behind `at`, to place `one` now."""
        if at.value is not None and self._all[at.value].held > self._now:
            return
        # what comes before `one` is overwritten by it; a look overwrites nothing, so that any value may be the last
        may_stay = one.kind == "other"
        fit = [
            each
            for number, each in self._waiting.items()
            if (each is one or may_stay or each.held <= self._now)
            and not (each.looks or number in at.done or number in at.spent)
        ]
        past = [each for each in fit if self._is_past(each)]
        for each in fit:
            if each.must and self._is_possible(at, each) and (each is one or each not in past):
                yield self._after(at, each, past)
        if one.kind == "other":
            yield from (self._after(at, each, past) for each in past[:1])
        deletes = [each for each in fit if each.kind == "delete"]
        yield from (self._after(at, each, past) for each in _first(each for each in deletes if each.must))
        for each in self._maybe(at, fit):
            after = self._after(at, each, past)
            if each is one or self._helps(one, at, after, fit):
                yield after

    def _maybe(self, at: Configuration, fit: Sequence[Placed]) -> Iterator[Placed]:
        """Of what need not have an effect all that are unlike each other."""
        maybe = [each for each in fit if not each.must and (each.kind == "delete" or self._is_possible(at, each))]
        for kind in ("write", "create", "delete"):
            yield from _first(each for each in maybe if each.kind == kind and not self._is_named(each))
        yield from (each for each in maybe if each.kind == "replace" or self._is_named(each))

    def _helps(self, one: Placed, at: Configuration, after: Configuration, fit: Sequence[Placed]) -> bool:
        """Whether what took place between two configurations is of use to anything else."""
        if any(number in after.done and number not in at.done for number in self._looks):
            return True
        idle = [each for each in fit if each.number not in after.done and each.number not in after.spent]
        if after.value is None:
            return any(each.kind == "create" and (each.must or each is one or self._may_look(after)) for each in idle)
        return any(each.kind == "replace" and each.expected == after.value for each in idle)

    def _may_look(self, at: Configuration) -> bool:
        """Whether a look waits that did not find something yet."""
        return any(each.kind == "other" and number not in at.done for number, each in self._looks.items())

    def _is_possible(self, at: Configuration, each: Placed) -> bool:
        """For all but deletions, which are alike."""
        match each.kind:
            case "create":
                return at.value is None
            case "replace":
                return at.value == each.expected
        return each.kind == "write"

    def _is_past(self, each: Placed) -> bool:
        """Whether its value is of no use any more."""
        return each.kind == "write" and each.must and each.wanted_until <= self._now and self._is_any(each.number)

    def _is_any(self, value: int | None) -> bool:
        """Whether it is as good as any other, once it is there."""
        if value is None:
            return False
        each = self._all[value]
        return each.held <= self._now and not self._is_named(each)

    def _is_named(self, each: Placed) -> bool:
        return each.named_until >= self._now

    def _after(self, at: Configuration, each: Placed, past: Iterable[Placed] = ()) -> Configuration:
        """With what is `past` right before it, where it does not need to find something or nothing."""
        done = at.done
        if each.kind in {"write", "delete"}:
            others = {other.number for other in past} - {each.number}
            done |= others
            if others:
                done |= {number for number, look in self._looks.items() if look.kind == "other"}
        value = None if each.kind == "delete" or each.leaves_nothing else each.number
        if each.must:
            return self._looked(Configuration(value, done | {each.number}, at.spent))
        return self._looked(Configuration(value, done, at.spent | {each.number}))

    def _looked(self, at: Configuration) -> Configuration:
        """Looks are placed as soon as what they found is there."""
        if at.value is None:
            found = {number for number, each in self._looks.items() if each.kind == "nothing"}
        else:
            found = {n for n, each in self._looks.items() if each.kind == "other" and each.expected != at.value}
        if found <= at.done:
            return at
        return Configuration(at.value, at.done | found, at.spent)


def _first(alike: Iterable[Placed]) -> list[Placed]:
    """The one that expires first, if there is any."""
    return sorted(alike, key=lambda each: (each.deadline, each.number))[:1]


def _best(configurations: set[Configuration]) -> set[Configuration]:
    """Without those which are like another and spent more."""
    if len(configurations) < 2:
        return configurations
    alike: dict[tuple[int | None, frozenset[int]], list[frozenset[int]]] = defaultdict(list)
    for each in configurations:
        alike[each.value, each.done].append(each.spent)
    return {
        Configuration(value, done, spent)
        for (value, done), spents in alike.items()
        for spent in spents
        if not any(other < spent for other in spents)
    }
