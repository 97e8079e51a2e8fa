"""Large histories that are linearizable because each operation took effect at a moment between its start and its end."""

import heapq
import math
import random
from collections import defaultdict

from tests.linearizability.operations import LOOKS, Kind, Operation

# whether there is a value to write, or one that is expected
KINDS: list[tuple[Kind, bool]] = [
    ("read", False),
    ("read", False),
    ("write", True),
    ("create", True),
    ("write", False),
    ("replace", True),
    ("replace", False),
]
UNKNOWN = 0.02  # of operations have an outcome that nobody was told
LATE_S = 5.0  # what of them takes effect does so until then
LATEST_KNOWN = 0.5  # of them


def generate(rng: random.Random, *, operations: int, keys: int, clients: int) -> list[Operation]:
    """Each client does one operation after another; of those with unknown outcome half take effect, some of them late."""
    found: list[Operation] = []
    values: dict[str, str | None] = defaultdict(lambda: None)
    free = [(rng.random(), client) for client in range(clients)]
    effects: list[tuple[float, int, Operation]] = []  # by the moment they take effect
    heapq.heapify(free)
    for number in range(operations):
        started, client = heapq.heappop(free)
        while effects and effects[0][0] < started:
            found += _take(values, effects)
        ended = started + rng.expovariate(50)
        heapq.heappush(free, (ended + rng.expovariate(200), client))
        kind, has_value = rng.choice(KINDS)
        value = f"v{number}" if has_value else None
        key = f"k{rng.randrange(keys)}"
        expected = (values[key] or "never") if kind == "replace" else None
        at = rng.uniform(started, ended)
        made = Operation(client, key, kind, value, started, ended, expected=expected)
        if kind not in LOOKS and rng.random() < UNKNOWN:
            is_late, is_known = rng.random() < 0.5, rng.random() < LATEST_KNOWN
            made = made._replace(ended=None, latest=ended + LATE_S if is_known else math.inf)
            at += rng.uniform(0, LATE_S) if is_late else 0
        if made.ended is None and rng.random() < 0.5:
            found.append(made)
        else:
            heapq.heappush(effects, (at, number, made))
    while effects:
        found += _take(values, effects)
    return found


def _take(values: dict[str, str | None], effects: list[tuple[float, int, Operation]]) -> list[Operation]:
    _, _, made = heapq.heappop(effects)
    value = values[made.key]
    if made.kind == "read":
        return [made._replace(value=value)]
    if (made.kind == "create" and value is not None) or (made.kind == "replace" and value != made.expected):
        return [made if made.ended is None else _refused(made, value)]
    values[made.key] = made.value
    return [made]


def _refused(made: Operation, value: str | None) -> Operation:
    return made._replace(kind="read" if value is None else "refused", value=None)


def with_a_stale_read(rng: random.Random, operations: list[Operation]) -> tuple[list[Operation], str]:
    """One read shows what was there before the write whose value it found had begun; and its key."""
    while True:
        at = rng.randrange(len(operations))
        late = operations[at]
        if late.kind != "read" or late.value is None:
            continue
        writes = [(each.ended, each) for each in operations if each.key == late.key and each.kind != "read" and each.value]
        found = [(ended, each) for ended, each in writes if each.value == late.value and ended and ended < late.started]
        old = [(ended, each.value) for ended, each in writes if found and ended and ended < found[0][1].started]
        if old:
            _, value = max(old)
            return [*operations[:at], late._replace(value=value), *operations[at + 1 :]], late.key
