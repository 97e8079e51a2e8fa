"""Is a history of S3 operations linearizable, key by key? Whoever acted, real clients or simulated ones.

A history is linearizable if every key's is (P-compositionality; S3 promises no more). For one key this is a search as
Wing and Gong, and Lowe ("Testing for linearizability"), have it: time goes forward over the operations' starts and ends; a
configuration is the value now and the writes that took effect already; an operation is placed at its end at the latest.
That values are unique (Gibbons and Korach, "Testing shared memories") keeps configurations few:
- a value that was read was written before the first of its reads ended, and stays until the last of them has started;
- so of a value only the write is placed, and it holds until then. Reads of nothing are placed: deletions are all alike;
- a write that holds no longer goes for nothing right before another, and is best placed there at once;
- of deletions whose end is not known the one that expires first is used, and only where nothing is to be found, or at
  the moment that it expires;
- what was replaced by a condition on it (If-Match) is a read of it too, and what replaced it found just that;
- a refusal, "something was there, and it was not this", does not say which value it found. So a write counts again that
  nobody read: as any other that nobody read, unless something expects its very value. It goes for nothing as before once
  each refusal that may have found it has begun.

`placing` says what the reads and replacements of a key tell of each write, `search` looks for an order. `brute_force` is
the definition, and `porcupine/` another checker: all three are compared on random histories.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from tests.linearizability.operations import LOOKS, Kind, Operation
from tests.linearizability.placing import to_place
from tests.linearizability.search import Search

__all__ = ["Kind", "Operation", "check"]
AROUND = 12  # operations that an explanation shows


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
    placed = to_place(history)
    return placed is not None and Search(placed).succeeds()


def _explain(history: list[Operation]) -> str:
    """The first that found something or nothing, in the order of their ends, and does not go with all before it."""
    writes = [each for each in history if each.kind == "write" or each.ended is None]
    ended = [(each.ended, each) for each in history if each.kind != "write" and each.ended is not None]
    ended.sort(key=lambda pair: pair[0])
    rest = [each for _, each in ended]

    def fails(last: int) -> bool:
        later = [each._replace(ended=None) for each in rest[last + 1 :] if each.kind not in LOOKS]
        return not _is_linearizable([*writes, *rest[: last + 1], *later])

    guilty = rest[bisect_left(range(len(rest)), True, key=fails)]
    near = sorted(history, key=lambda each: each.started)
    at = near.index(guilty)
    zero = near[0].started
    around = near[max(0, at - AROUND) : at + AROUND // 2]
    lines = [f"{'→' if each is guilty else ' '} {_line(each, zero)}" for each in around]
    return "\n".join([f"{guilty.key}: cannot be placed: {_line(guilty, zero)}", *lines])


def _line(each: Operation, zero: float) -> str:
    ended = "?" if each.ended is None else f"{each.ended - zero:.4f}"
    expected = f" for {each.expected}" if each.kind in {"replace", "refused"} else ""
    return f"client {each.client} {each.started - zero:.4f}–{ended} {each.kind} {each.value}{expected}"
