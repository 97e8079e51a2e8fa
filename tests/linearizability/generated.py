"""Large histories that are linearizable because each operation took effect at a moment between its start and its end."""

import heapq
import random
from collections import defaultdict

from tests.linearizability.checker import Kind, Operation

KINDS: list[tuple[Kind, bool]] = [("read", False), ("read", False), ("write", True), ("create", True), ("write", False)]
UNKNOWN = 0.02  # of operations have an outcome that nobody was told
LATE_S = 5.0  # what of them takes effect does so until then


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
        at = rng.uniform(started, ended)
        is_unknown = kind != "read" and rng.random() < UNKNOWN
        if is_unknown and rng.random() < 0.5:
            at += rng.uniform(0, LATE_S)
        made = Operation(client, f"k{rng.randrange(keys)}", kind, value, started, None if is_unknown else ended)
        if is_unknown and rng.random() < 0.5:
            found.append(made)
        else:
            heapq.heappush(effects, (at, number, made))
    while effects:
        found += _take(values, effects)
    return found


def _take(values: dict[str, str | None], effects: list[tuple[float, int, Operation]]) -> list[Operation]:
    _, _, made = heapq.heappop(effects)
    if made.kind == "read":
        return [made._replace(value=values[made.key])]
    if made.kind == "create" and values[made.key] is not None:
        return [made] if made.ended is None else []
    values[made.key] = made.value
    return [made]


def with_a_stale_read(rng: random.Random, operations: list[Operation]) -> tuple[list[Operation], str]:
    """One read shows what was there before the write whose value it found had begun; and its key."""
    while True:
        at = rng.randrange(len(operations))
        late = operations[at]
        writes = [(each.ended, each) for each in operations if each.key == late.key and each.kind != "read" and each.value]
        found = [(ended, each) for ended, each in writes if each.value == late.value and ended and ended < late.started]
        if late.kind != "read" or not found:
            continue
        old = [(ended, each.value) for ended, each in writes if ended and ended < found[0][1].started]
        if old:
            _, value = max(old)
            return [*operations[:at], late._replace(value=value), *operations[at + 1 :]], late.key
