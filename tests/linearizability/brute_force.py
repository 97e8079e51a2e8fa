"""The definition of linearizability, tried out in every order: for histories of a handful of operations on one key."""

from tests.linearizability.operations import LOOKS, Operation


def is_linearizable(history: list[Operation]) -> bool:
    return _goes_on(None, [each for each in history if each.kind not in LOOKS or each.ended is not None])


def _goes_on(value: str | None, rest: list[Operation]) -> bool:
    if not any(each.ended is not None for each in rest):
        return True
    for index, each in enumerate(rest):
        others = rest[:index] + rest[index + 1 :]
        if any(other.deadline < each.started for other in others if other.ended is not None):
            continue  # another one came before
        if each.ended is None and _goes_on(value, others):
            return True  # it never took effect
        after = [other for other in others if not _is_too_late(other, each)]
        if _can_be(each, value) and _goes_on(value if each.kind in LOOKS else each.value, after):
            return True
    return False


def _can_be(each: Operation, value: str | None) -> bool:
    """Whether it may take effect, and be answered as it was, where there is this value."""
    match each.kind:
        case "write":
            return True
        case "create":
            return value is None
        case "replace":
            return value is not None and value == each.expected
        case "read":
            return value == each.value
        case "refused":
            return value is not None and value != each.expected


def _is_too_late(other: Operation, placed: Operation) -> bool:
    """Whether an operation of unknown outcome can take no effect any more behind what was placed."""
    return other.ended is None and other.latest < placed.started
