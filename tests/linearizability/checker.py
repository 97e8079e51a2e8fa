"""Is a history of S3 operations linearizable, key by key? Whoever acted, real clients or simulated ones.

A history is linearizable if every key's is (P-compositionality; S3 promises no more). For one key this is a search as
Wing and Gong, and Lowe ("Testing for linearizability"), have it: time goes forward over the operations' starts and ends; a
configuration is the value now and the writes that took effect already; an operation is placed at its end at the latest.
That values are unique (Gibbons and Korach, "Testing shared memories") keeps configurations few:
- a value that was read was written before the first of its reads ended, and stays until the last of them has started;
- so of a value only the write is placed, and it holds until then. Reads of nothing are placed: deletions are all alike;
- a write that holds no longer goes for nothing right before another, and is best placed there at once;
- of deletions whose end is not known the one that expires first is used, and only where nothing is to be found, or at
  the moment that it expires.

Times are numbers of one clock. One operation comes before another if its end is less than the other's start.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

Kind = Literal["write", "create", "read"]  # create: a write that was done because there was nothing
AROUND = 12  # operations that an explanation shows


class Operation(NamedTuple):
    """One operation on one key. A LIST is a read of each key of the range that was listed."""

    client: int
    key: str
    kind: Kind
    value: str | None  # what was written, unlike all else that ever was, or read; None: nothing, so a write of it deletes
    started: float
    ended: float | None  # None: the outcome is unknown, and it takes effect later, once, or never
    latest: float = math.inf  # where the outcome is unknown, it takes no effect after this


class Placed(NamedTuple):
    """Something that the search places: an operation, with what the reads of its value say of it."""

    kind: Literal["write", "create", "delete", "nothing"]  # nothing: a read of it
    number: int
    started: float
    deadline: float  # it takes effect until then
    held: float  # its value stays until then
    must: bool  # False: it may have had no effect at all


class Configuration(NamedTuple):
    value: int | None  # number of the write that made it
    done: frozenset[int]  # what took effect and has not reached its deadline
    spent: frozenset[int]  # the same of what need not have any


START = Configuration(None, frozenset(), frozenset())


def check(operations: Iterable[Operation]) -> str | None:
    """None for a linearizable history; else which operation cannot be placed, and what happened around it."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_key[operation.key].append(operation)
    for key in sorted(by_key):
        if not _is_linearizable(by_key[key]):
            return _explain(by_key[key])
    return None


def _is_linearizable(history: list[Operation]) -> bool:
    placed = _to_place(history)
    return placed is not None and _Search(placed).succeeds()


def _to_place(history: list[Operation]) -> list[Placed] | None:
    """None where a value was read that was not written before."""
    reads = [each for each in history if each.kind == "read" and each.ended is not None]
    first_end: dict[str | None, float] = {}
    last_start: dict[str | None, float] = {}
    for read in reads:
        assert read.ended is not None
        first_end[read.value] = min(first_end.get(read.value, math.inf), read.ended)
        last_start[read.value] = max(last_start.get(read.value, -math.inf), read.started)
    placed: list[Placed] = []
    written: set[str] = set()
    for each in history:
        deadline = each.latest if each.ended is None else each.ended
        if each.value is None:
            if each.kind == "write":
                placed.append(Placed("delete", len(placed), each.started, deadline, -math.inf, each.ended is not None))
            elif each.ended is not None:
                placed.append(Placed("nothing", len(placed), each.started, deadline, -math.inf, must=True))
        elif each.kind != "read":
            if each.value in written:
                raise ValueError(f"{each.key}: {each.value} was written twice")
            written.add(each.value)
            if each.ended is None and each.value not in first_end:
                continue  # nobody needs it
            deadline = min(deadline, first_end.get(each.value, math.inf))
            if deadline < each.started:
                return None
            placed.append(
                Placed(each.kind, len(placed), each.started, deadline, last_start.get(each.value, -math.inf), must=True)
            )
    return placed if {value for value in first_end if value is not None} <= written else None


class _Search:
    def __init__(self, placed: list[Placed]) -> None:
        self._all = placed
        self._now = -math.inf
        self._waiting: dict[int, Placed] = {}  # started, and not at its deadline

    def succeeds(self) -> bool:
        starts = [(each.started, 0, each.number) for each in self._all]
        ends = [(each.deadline, 1, each.number) for each in self._all if each.deadline < math.inf]
        configurations = {START}
        for now, is_end, number in sorted(starts + ends):
            self._now, one = now, self._all[number]
            if not is_end:
                self._waiting[number] = one
                if one.kind == "nothing":
                    configurations = {self._found_nothing(each) for each in configurations}
                continue
            reached = {each for before in configurations for each in self._placing(one, before)}
            if not one.must:
                reached |= configurations
            del self._waiting[number]
            without = {number}
            configurations = _best({Configuration(v, done - without, spent - without) for v, done, spent in reached})
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
        if at.value is not None and self._all[at.value].held > self._now:
            return
        idle = [each for number, each in self._waiting.items() if number not in at.done and number not in at.spent]
        past = frozenset(each.number for each in idle if each.kind == "write" and each.held <= self._now)
        if one.kind == "write":
            yield Configuration(one.number, at.done | past | {one.number}, at.spent)
        deletes = sorted((each.deadline, each.number) for each in idle if each.kind == "delete" and each.must)
        for _, number in deletes[:1]:
            yield self._found_nothing(Configuration(None, at.done | past | {number}, at.spent))
        if at.value is None:
            for each in idle:
                if each.kind == "create" and (each is one or each.held <= self._now):
                    yield Configuration(each.number, at.done | {each.number}, at.spent)
        is_needed = any(each.kind in {"create", "nothing"} for each in idle) and (past or at.value is not None)
        if is_needed or not one.must:
            maybe = sorted((each.deadline, each.number) for each in idle if each.kind == "delete" and not each.must)
            for _, number in maybe[:1]:
                yield self._found_nothing(Configuration(None, at.done | past, at.spent | {number}))

    def _found_nothing(self, at: Configuration) -> Configuration:
        """Reads of nothing are placed as soon as there is nothing: they change nothing."""
        if at.value is not None:
            return at
        reads = {number for number, each in self._waiting.items() if each.kind == "nothing"}
        return at._replace(done=at.done | reads)


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


def _explain(history: list[Operation]) -> str:
    """The first read (or create), in the order of their ends, that does not go with all before it."""
    writes = [each for each in history if each.kind == "write" or each.ended is None]
    ended = [(each.ended, each) for each in history if each.kind != "write" and each.ended is not None]
    ended.sort(key=lambda pair: pair[0])
    rest = [each for _, each in ended]

    def fails(last: int) -> bool:
        open_creates = [each._replace(ended=None) for each in rest[last + 1 :] if each.kind == "create"]
        return not _is_linearizable([*writes, *rest[: last + 1], *open_creates])

    guilty = rest[bisect_left(range(len(rest)), True, key=fails)]
    near = sorted(history, key=lambda each: each.started)
    at = near.index(guilty)
    zero = near[0].started
    around = near[max(0, at - AROUND) : at + AROUND // 2]
    lines = [f"{'→' if each is guilty else ' '} {_line(each, zero)}" for each in around]
    return "\n".join([f"{guilty.key}: cannot be placed: {_line(guilty, zero)}", *lines])


def _line(each: Operation, zero: float) -> str:
    ended = "?" if each.ended is None else f"{each.ended - zero:.4f}"
    return f"client {each.client} {each.started - zero:.4f}–{ended} {each.kind} {each.value}"
