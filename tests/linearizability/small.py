"""Histories of a handful of operations on one key, good and bad, for a comparison of those who judge."""

import math
import random

from tests.linearizability.operations import LOOKS, Kind, Operation

KINDS: list[Kind] = ["write", "create", "replace", "read", "refused"]
WEIGHTS = [(3, 2, 2, 3, 3), (3, 1, 1, 3, 1), (2, 2, 4, 3, 2), (1, 3, 1, 2, 5)]  # of the kinds
SPANS = [6, 12, 20]  # of the starts: the shorter, the more goes on at once
OPERATIONS_MAX = 7


def small_history(rng: random.Random, operations_max: int = OPERATIONS_MAX) -> list[Operation]:
    """About a third are linearizable. Times are small whole numbers, so that many are the same."""
    names = iter("abcdefghijklmnop")
    span, weights = rng.choice(SPANS), rng.choice(WEIGHTS)
    found = []
    for client in range(rng.randint(1, operations_max)):
        kind = rng.choices(KINDS, weights)[0]
        expected = None
        if kind in LOOKS:
            value = rng.choice([None, *"abc"]) if kind == "read" else None
        else:
            value = next(names)
            if kind != "create" and rng.random() < 0.35:
                value = None
        if kind in {"replace", "refused"}:
            expected = rng.choice([*"abcx", *([None] if kind == "refused" else [])])
        started = rng.randint(0, span)
        ended = rng.choice([rng.randint(started, span + 2)] * 2 + [None])
        latest = math.inf if ended is not None or rng.random() < 0.5 else rng.randint(started, span + 2)
        found.append(Operation(client, "k", kind, value, started, ended, latest, expected))
    return found
