"""The checker itself: histories that pass and that fail, all small ones against the definition, and a large one."""

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.linearizability.brute_force import is_linearizable
from tests.linearizability.checker import Kind, Operation, check
from tests.linearizability.generated import KINDS, generate, with_a_stale_read

Row = tuple[Kind, str | None, float, float | None]


def history(*rows: Row) -> list[Operation]:
    return [Operation(client, "k", *row) for client, row in enumerate(rows)]


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
        kind, has_value = draw(st.sampled_from(KINDS))
        value = next(names) if has_value else draw(st.sampled_from([None, *"abc"])) if kind == "read" else None
        started = draw(st.integers(0, 12))
        ended = draw(st.one_of(st.integers(started, 14), st.integers(started, 14), st.none()))
        latest = draw(st.one_of(st.just(float("inf")), st.integers(started, 14))) if ended is None else float("inf")
        found.append(Operation(client, "k", kind, value, started, ended, latest))
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
    assert check(operations) is None
    planted, key = with_a_stale_read(rng, operations)
    told = check(planted)
    assert told is not None
    assert told.startswith(f"{key}: ")


def test_one_hot_key() -> None:
    assert check(generate(random.Random(7), operations=5_000, keys=1, clients=16)) is None
