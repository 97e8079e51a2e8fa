"""The definition of linearizability, tried out in every order: for histories of a handful of operations on one key."""

from tests.linearizability.checker import Operation


def is_linearizable(history: list[Operation]) -> bool:
    return _goes_on(None, [each for each in history if each.kind != "read" or each.ended is not None])


def _goes_on(value: str | None, rest: list[Operation]) -> bool:
    if not any(each.ended is not None for each in rest):
        return True
    for index, each in enumerate(rest):
        others = rest[:index] + rest[index + 1 :]
        if any(_end(other) < each.started for other in others if other.ended is not None):
            continue  # another one came before
        after = [other for other in others if not _is_too_late(other, each)]
        if each.ended is None and _goes_on(value, others):
            return True  # it never took effect
        if each.kind == "read" and each.value == value and _goes_on(value, after):
            return True
        if (each.kind == "write" or (each.kind == "create" and value is None)) and _goes_on(each.value, after):
            return True
    return False


def _end(each: Operation) -> float:
    return each.latest if each.ended is None else each.ended


def _is_too_late(other: Operation, placed: Operation) -> bool:
    """Whether an operation of unknown outcome can take no effect any more behind what was placed."""
    return other.ended is None and other.latest < placed.started
