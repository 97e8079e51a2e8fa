"""The checker itself: histories that pass and that fail, all small ones against the definition, and a large one."""

import math
import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linearizability.brute_force import is_linearizable
from tests.linearizability.checker import check
from tests.linearizability.generated import KINDS, generate, with_a_stale_read
from tests.linearizability.operations import LOOKS, Kind, Operation

Row = tuple[Kind, str | None, float, float | None] | tuple[Kind, str | None, float, float | None, str | None]


def history(*rows: Row) -> list[Operation]:
    """The last column, where there is one, is what was expected."""
    return [Operation(client, "k", *row[:4], expected=row[4] if len(row) == 5 else None) for client, row in enumerate(rows)]


PASS: dict[str, list[Row]] = {
    "nothing": [],
    "a key that never was": [("read", None, 0, 1)],
    "one after another": [("write", "a", 0, 1), ("read", "a", 2, 3), ("write", None, 4, 5), ("read", None, 6, 7)],
    "either order at once": [("write", "a", 0, 5), ("write", "b", 0, 5), ("read", "a", 6, 7)],
    "both seen in an order": [("write", "a", 0, 9), ("write", "b", 0, 9), ("read", "a", 1, 2), ("read", "b", 3, 4)],
    "old or new while it is written": [
        ("write", "a", 0, 1),
        ("write", "b", 2, 9),
        ("read", "b", 3, 8),
        ("read", "a", 3, 4),
    ],
    "an open write never seen": [("write", "a", 0, 1), ("write", "b", 2, None), ("read", "a", 9, 10)],
    "an open write seen late": [("write", "b", 0, None), ("write", "a", 1, 2), ("read", "a", 3, 4), ("read", "b", 8, 9)],
    "an open delete late": [("write", None, 0, None), ("write", "a", 1, 2), ("read", "a", 3, 4), ("read", None, 5, 6)],
    "deleted between two reads": [("write", "a", 0, 1), ("write", None, 2, 9), ("read", "a", 3, 4), ("read", None, 5, 6)],
    "created behind a delete": [("create", "a", 0, 1), ("write", None, 2, 5), ("create", "b", 3, 4), ("read", "b", 6, 7)],
    "a read of unknown outcome": [("write", "a", 0, 1), ("read", None, 2, None)],
    "refused as something was there": [("write", "a", 0, 1), ("refused", None, 2, 3)],
    "refused as another was there": [("write", "a", 0, 1), ("refused", None, 2, 3, "b")],
    "refused before a delete": [("write", "a", 0, 1), ("write", None, 2, 9), ("refused", None, 3, 4)],
    "refused for what only an open write can be": [("write", "a", 0, None), ("refused", None, 2, 3)],
    "refused for what only an open create can be": [("create", "a", 0, None), ("refused", None, 2, 3)],
    "refused between a delete and a write": [
        ("write", "a", 0, 1),
        ("write", None, 2, 3),
        ("write", "b", 4, 9),
        ("refused", None, 5, 6),
        ("write", None, 5, 9),
        ("read", None, 10, 11),
    ],
    "refused for what lasts of two": [("write", "a", 1, 3), ("write", "b", 0, 4), ("refused", None, 12, 19, "b")],
    "replaced": [("write", "a", 0, 1), ("replace", "b", 2, 3, "a"), ("read", "b", 4, 5)],
    "deleted as it was": [("write", "a", 0, 1), ("replace", None, 2, 3, "a"), ("read", None, 4, 5)],
    "replaced one by one at once": [
        ("replace", "c", 0, 9, "b"),
        ("replace", "b", 0, 9, "a"),
        ("write", "a", 0, 9),
        ("read", "c", 10, 11),
    ],
    "an open replace seen late": [
        ("write", "a", 0, 1),
        ("replace", "b", 2, None, "a"),
        ("read", "a", 3, 4),
        ("read", "b", 5, 6),
    ],
    "an open write replaced": [("write", "a", 0, None), ("replace", "b", 2, 3, "a"), ("read", "b", 4, 5)],
    "an open write, deleted as it was by an open delete": [
        ("write", "b", 0, 1),
        ("read", "b", 2, 3),
        ("write", "a", 0, None),
        ("replace", None, 0, None, "a"),
        ("read", None, 8, 9),
    ],
    "an open delete of it": [("write", "a", 0, 1), ("replace", None, 2, None, "a"), ("create", "b", 3, 4)],
}
FAIL: dict[str, list[Row]] = {
    "a stale read": [("write", "a", 0, 1), ("write", "b", 2, 3), ("read", "a", 4, 5)],
    "a lost write": [("write", "a", 0, 1), ("read", None, 2, 3)],
    "never written": [("write", "a", 0, 1), ("read", "x", 2, 3)],
    "read before it was written": [("read", "a", 0, 1), ("write", "a", 2, 3)],
    "a deleted key that comes back": [("write", "a", 0, 1), ("write", None, 2, 3), ("read", "a", 4, 5)],
    "new, then old": [("write", "a", 0, 1), ("write", "b", 2, 9), ("read", "b", 3, 4), ("read", "a", 5, 6)],
    "old again with nobody to write it": [
        ("write", "a", 0, 9),
        ("write", "b", 0, 9),
        *[("read", v, t, t + 0.5) for v, t in zip("aba", (1, 2, 3), strict=True)],
    ],
    "an open write seen, then unseen": [
        ("write", "a", 0, 1),
        ("write", "b", 2, None),
        ("read", "b", 3, 4),
        ("read", "a", 5, 6),
    ],
    "one open delete for two": [
        ("write", None, 0, None),
        ("write", "a", 0, 1),
        ("read", None, 2, 3),
        ("write", "b", 4, 5),
        ("read", None, 6, 7),
    ],
    "created twice": [("create", "a", 0, 1), ("create", "b", 2, 3)],
    "created where something was": [("write", "a", 0, 1), ("create", "b", 2, 3)],
    "refused where nothing was": [("refused", None, 0, 1)],
    "refused behind a delete": [("write", "a", 0, 1), ("write", None, 2, 3), ("refused", None, 4, 5)],
    "refused as another was there, and it was not": [("write", "a", 0, 1), ("refused", None, 2, 3, "a")],
    "refused before it was written": [("refused", None, 0, 1), ("write", "a", 2, 3)],
    "the value of what was refused": [("write", "a", 0, 1), ("refused", None, 2, 3), ("read", "b", 4, 5)],
    "replaced what was not there": [("write", "a", 0, 1), ("replace", "b", 2, 3, "x")],
    "replaced what was overwritten": [("write", "a", 0, 1), ("write", "b", 2, 3), ("replace", "c", 4, 5, "a")],
    "replaced twice": [("write", "a", 0, 9), ("replace", "b", 0, 9, "a"), ("replace", "c", 0, 9, "a")],
    "deleted as it was, twice": [("write", "a", 0, 9), ("replace", None, 0, 9, "a"), ("replace", None, 0, 9, "a")],
    "seen behind its replacement": [("write", "a", 0, 1), ("replace", "b", 2, 3, "a"), ("read", "a", 4, 5)],
    "replaced each other": [("replace", "a", 0, 9, "b"), ("replace", "b", 0, 9, "a")],
    "an open replace of what is gone": [
        ("write", "a", 0, 1),
        ("write", "c", 2, 3),
        ("replace", "b", 4, None, "a"),
        ("read", "b", 5, 6),
    ],
}


@pytest.mark.parametrize("rows", PASS.values(), ids=PASS.keys())
def test_passes(rows: list[Row]) -> None:
    assert check(history(*rows)) is None
    assert is_linearizable(history(*rows))


@pytest.mark.parametrize("rows", FAIL.values(), ids=FAIL.keys())
def test_fails(rows: list[Row]) -> None:
    assert check(history(*rows)) is not None
    assert not is_linearizable(history(*rows))


def test_an_explanation_names_the_key_and_the_read() -> None:
    told = check(history(("write", "a", 10, 11), ("write", "b", 12, 13), ("read", "a", 14, 15), ("read", "b", 16, 17)))
    assert told is not None
    assert told.splitlines()[0] == "k: cannot be placed: client 2 4.0000–5.0000 read a"
    assert len(told.splitlines()) == 5


def test_a_list_that_misses_a_key() -> None:
    writes = [Operation(0, key, "write", key, 0, 1) for key in "pqr"]
    listed = [Operation(1, key, "read", value, 2, 3) for key, value in (("p", "p"), ("q", None), ("r", "r"))]
    told = check([*writes, *listed])
    assert told is not None
    assert told.startswith("q: ")
    assert check([*writes, listed[0], listed[2]]) is None


def test_keys_stand_for_themselves() -> None:
    """A listing need not be of one moment."""
    writes = [Operation(0, "p", "write", "p", 2, 3), Operation(0, "q", "write", "q", 4, 5)]
    assert check([*writes, Operation(1, "p", "read", None, 1, 6), Operation(1, "q", "read", "q", 1, 6)]) is None


def test_an_unknown_outcome_may_expire() -> None:
    late = Operation(0, "k", "write", None, 0, None, latest=5)
    rest = history(("write", "a", 1, 2), ("read", "a", 6, 7), ("read", None, 8, 9))
    assert check([late, *rest]) is not None
    assert check([late._replace(latest=8.5), *rest]) is None


def test_a_value_is_written_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        check(history(("write", "a", 0, 1), ("write", "a", 2, 3)))


@st.composite
def small_histories(draw: st.DrawFn) -> list[Operation]:
    found = []
    names = iter("abcdefgh")
    for client in range(draw(st.integers(1, 7))):
        kind, has_value = draw(st.sampled_from([*KINDS, ("refused", False)]))
        value = next(names) if has_value else draw(st.sampled_from([None, *"abc"])) if kind == "read" else None
        expected = draw(st.sampled_from("abcx")) if kind == "replace" else None
        if kind == "refused":
            expected = draw(st.sampled_from([None, *"abcx"]))
        started = draw(st.integers(0, 12))
        ended = draw(st.one_of(st.integers(started, 14), st.integers(started, 14), st.none()))
        latest = draw(st.one_of(st.just(math.inf), st.integers(started, 14))) if ended is None else math.inf
        found.append(Operation(client, "k", kind, value, started, ended, latest, expected))
    return found


@settings(max_examples=1000, deadline=None)
@given(small_histories())
def test_as_the_definition_has_it(operations: list[Operation]) -> None:
    assert (check(operations) is None) == is_linearizable(operations)


def keys(operations: Iterable[Operation]) -> set[str]:
    return {each.key for each in operations}


@pytest.mark.parametrize("seed", range(3))
def test_a_large_history(seed: int) -> None:
    rng = random.Random(seed)
    operations = generate(rng, operations=24_000, keys=50, clients=16)
    assert len(operations) >= 20_000
    assert len(keys(operations)) == 50
    assert sum(each.ended is None for each in operations) > 100
    kinds = Counter[str](each.kind for each in operations)
    assert all(kinds[kind] > 500 for kind in ("create", "replace", *LOOKS))
    assert check(operations) is None
    planted, key = with_a_stale_read(rng, operations)
    told = check(planted)
    assert told is not None
    assert told.startswith(f"{key}: ")


@pytest.mark.parametrize("seed", range(3))
def test_a_refusal_that_is_not_true(seed: int) -> None:
    """A key that has one value all the time, by what was read, and then a refusal to replace that one."""
    operations = generate(random.Random(seed), operations=2_000, keys=5, clients=4)
    last = max(each.deadline for each in operations if each.deadline < math.inf) + 1
    rest = [
        Operation(0, "k0", "write", "last", last, last + 1),
        Operation(1, "k0", "read", "last", last + 2, last + 3),
        Operation(1, "k0", "read", "last", last + 6, last + 7),
    ]
    settled = [each._replace(latest=min(each.latest, last)) if each.ended is None else each for each in operations]
    false = Operation(2, "k0", "refused", None, last + 4, last + 5, expected="last")
    assert check([*settled, *rest, false._replace(expected="another")]) is None
    told = check([*settled, *rest, false])
    assert told is not None
    assert "cannot be placed: client 2 " in told.splitlines()[0]


def test_one_hot_key() -> None:
    assert check(generate(random.Random(7), operations=1_000, keys=1, clients=16)) is None
