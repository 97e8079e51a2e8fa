"""Histories in files: JSON Lines to keep and to judge again, and EDN as Jepsen's tools read it.

JSON Lines: an operation a line, an object with client, key, kind, value, started_ns and ended_ns as in `Operation`. Where
the outcome is unknown ended_ns is null. `latest_ns` and `expected` are there where they say something. Times are
nanoseconds, from the first start on. docs/LINEARIZABILITY.md has it for readers.

EDN: an event a line, maps with :index, :process, :type, :f, :value and :time (ns). A value is [key value], as of
jepsen.independent; a create is a :cas of nil. A process does one operation after the other, so its number is no client's.
"""

import heapq
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.linearizability.operations import Operation

KEPT = Path(__file__).parents[2] / "build" / "histories"
NS = 1_000_000_000


def save(path: Path, operations: Sequence[Operation]) -> None:
    """By their starts."""
    zero = min((each.started for each in operations), default=0.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for each in sorted(operations, key=lambda each: (each.started, each.client)):
            file.write(json.dumps(_row(each, zero), separators=(",", ":")) + "\n")


def load(path: Path) -> list[Operation]:
    """Times in seconds. Raises ValueError, with the line's number, for a line that is no operation."""
    found = []
    with path.open() as file:
        for number, line in enumerate(file, 1):
            try:
                found.append(_operation(json.loads(line)))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path}, line {number}: no operation: {error!r}") from error
    return found


@contextmanager
def kept_on_failure(name: str, operations: Callable[[], Sequence[Operation]]) -> Iterator[None]:
    """A test that fails in here leaves its history in a file, and says where it is and how to judge it again."""
    try:
        yield
    except BaseException as error:
        path = KEPT / f"{name}-{time.strftime('%Y%m%dT%H%M%S')}.jsonl"
        save(path, operations())
        error.add_note(f"The history is in {path}: python -m tests.linearizability check {path}")
        raise


def _row(each: Operation, zero: float) -> dict[str, Any]:
    row: dict[str, Any] = {
        "client": each.client,
        "key": each.key,
        "kind": each.kind,
        "value": each.value,
        "started_ns": _ns(each.started, zero),
        "ended_ns": None if each.ended is None else _ns(each.ended, zero),
    }
    if each.ended is None and each.latest < math.inf:
        row["latest_ns"] = _ns(each.latest, zero)
    if each.expected is not None:
        row["expected"] = each.expected
    return row


def _ns(at: float, zero: float) -> int:
    return round((at - zero) * NS)


def _operation(row: dict[str, Any]) -> Operation:
    if row["kind"] not in {"write", "create", "replace", "read", "refused"}:
        raise ValueError(f"unknown kind {row['kind']}")
    if row["kind"] == "replace" and "expected" not in row:
        raise ValueError("a replace needs what it expected")
    return Operation(
        row["client"],
        row["key"],
        row["kind"],
        row["value"],
        row["started_ns"] / NS,
        None if row["ended_ns"] is None else row["ended_ns"] / NS,
        row["latest_ns"] / NS if "latest_ns" in row else math.inf,
        row.get("expected"),
    )


def edn(operations: Sequence[Operation]) -> Iterator[str]:
    """The events of a history, a line each, in the order of their times; what has no end known is :info at the end."""
    zero = min((each.started for each in operations), default=0.0)
    events: list[tuple[float, bool, int, str]] = []  # starts before ends of the same time, for these are concurrent
    for number, (process, each) in enumerate(_processes(operations)):
        f, value = _call(each)
        called = f":process {process}, :f :{f}, :client {each.client}"
        wanted = "nil" if each.kind == "read" else value
        events.append((each.started, False, number, f":type :invoke, {called}, :value [{_text(each.key)} {wanted}]"))
        outcome, error = _outcome(each)
        ended = math.inf if each.ended is None else each.ended
        events.append((ended, True, number, f":type {outcome}, {called}, :value [{_text(each.key)} {value}]{error}"))
    events.sort()
    last = max((at for at, *_ in events if at < math.inf), default=0.0)
    for index, (at, _, _, event) in enumerate(events):
        yield f"{{:index {index}, :time {_ns(min(at, last), zero)}, {event}}}"


def _processes(operations: Iterable[Operation]) -> Iterator[tuple[int, Operation]]:
    """Each operation with a process that does nothing else meanwhile, and nothing after one of unknown outcome."""
    free: list[tuple[float, int]] = []
    count = 0
    for each in sorted(operations, key=lambda each: each.started):
        if free and free[0][0] < each.started:
            process = heapq.heappop(free)[1]
        else:
            process, count = count, count + 1
        if each.ended is not None:
            heapq.heappush(free, (each.ended, process))
        yield process, each


def _call(each: Operation) -> tuple[str, str]:
    match each.kind:
        case "create":
            return "cas", f"[nil {_text(each.value)}]"
        case "replace" | "refused":
            return "cas", f"[{_text(each.expected)} {_text(each.value)}]"
        case _:
            return each.kind, _text(each.value)


def _outcome(each: Operation) -> tuple[str, str]:
    """A refusal did nothing, and says that there was something else: Jepsen's registers pass over the second."""
    if each.ended is None:
        return ":info", ""
    return (":fail", ", :error :precondition-failed") if each.kind == "refused" else (":ok", "")


def _text(value: str | None) -> str:
    return "nil" if value is None else json.dumps(value)
