"""Histories in files, and until when what is in them can have had an effect."""

import math
import random
import re
from pathlib import Path

import pytest

from tests.linearizability import history
from tests.linearizability.generated import generate
from tests.linearizability.latest import limit, next_of
from tests.linearizability.operations import Operation


def made(started: float, ended: float | None, *, key: str = "b/k", value: str | None = None) -> Operation:
    return Operation(0, key, "write", value, started, ended)


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    operations = generate(random.Random(1), operations=500, keys=3, clients=4)
    history.save(tmp_path / "one", operations)
    loaded = history.load(tmp_path / "one")
    zero = min(each.started for each in operations)
    assert len(loaded) == len(operations)
    for before, after in zip(sorted(operations, key=lambda each: each.started), loaded, strict=True):
        assert after.started == pytest.approx(before.started - zero, abs=1e-9)
        assert (after.ended is None) == (before.ended is None)
        assert math.isinf(after.latest) == math.isinf(before.latest)
        assert after._replace(started=0, ended=0, latest=0) == before._replace(started=0, ended=0, latest=0)
    history.save(tmp_path / "two", loaded)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"client":0}',
        '{"client":0,"key":"k","kind":"guess","value":null,"started_ns":0,"ended_ns":1}',
        '{"client":0,"key":"k","kind":"replace","value":"a","started_ns":0,"ended_ns":1}',
    ],
)
def test_a_line_that_is_no_operation_is_told(tmp_path: Path, line: str) -> None:
    history.save(tmp_path / "it", [made(0, 1)])
    with (tmp_path / "it").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match="line 2: no operation"):
        history.load(tmp_path / "it")


def test_a_failure_keeps_the_history_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", tmp_path)
    operations: list[Operation] = []
    with history.kept_on_failure("good", lambda: operations):
        operations.append(made(0, 1, value="a"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(AssertionError, match="it is wrong") as raised, history.kept_on_failure("bad", lambda: operations):
        raise AssertionError("it is wrong")
    [file] = tmp_path.iterdir()
    assert file.name.startswith("bad-")
    assert str(file) in raised.value.__notes__[0]
    assert history.load(file) == operations


def test_edn_is_as_jepsen_has_it() -> None:
    rows = [
        Operation(5, "k", "write", "a", 1, 2),
        Operation(6, "k", "create", "b", 1.5, None),
        Operation(5, "k", "refused", None, 3, 4),
        Operation(5, "k", "replace", "c", 5, 6, expected="a"),
        Operation(5, "k", "read", None, 7, 8),
    ]
    called = '{:index %d, :time %d, :type :%s, :process %d, :f :%s, :client %d, :value ["k" %s]%s}'
    second = 1_000_000_000
    assert list(history.edn(rows)) == [
        called % (0, 0, "invoke", 0, "write", 5, '"a"', ""),
        called % (1, second // 2, "invoke", 1, "cas", 6, '[nil "b"]', ""),
        called % (2, second, "ok", 0, "write", 5, '"a"', ""),
        called % (3, 2 * second, "invoke", 0, "cas", 5, "[nil nil]", ""),
        called % (4, 3 * second, "fail", 0, "cas", 5, "[nil nil]", ", :error :precondition-failed"),
        called % (5, 4 * second, "invoke", 0, "cas", 5, '["a" "c"]', ""),
        called % (6, 5 * second, "ok", 0, "cas", 5, '["a" "c"]', ""),
        called % (7, 6 * second, "invoke", 0, "read", 5, "nil", ""),
        called % (8, 7 * second, "ok", 0, "read", 5, "nil", ""),
        called % (9, 7 * second, "info", 1, "cas", 6, '[nil "b"]', ""),
    ]


def test_a_process_of_an_edn_history_does_one_thing_at_a_time() -> None:
    """The keys of a page of a LIST are read at once; and who was told nothing does nothing any more."""
    page = [Operation(0, f"k{number}", "read", None, 0, 1) for number in range(5)]
    operations = [*page, *generate(random.Random(1), operations=2_000, keys=9, clients=9)]
    busy: set[int] = set()
    gone: set[int] = set()
    times = []
    for line in history.edn(operations):
        found = re.match(r"\{:index \d+, :time (\d+), :type :(\w+), :process (\d+),", line)
        assert found is not None
        time_ns, kind, process = int(found[1]), found[2], int(found[3])
        times.append(time_ns)
        if kind == "invoke":
            assert process not in busy | gone
            busy.add(process)
        else:
            busy.remove(process)
            gone |= {process} if kind == "info" else set()
    assert busy == set()
    assert times == sorted(times)
    assert len(times) == 2 * len(operations)


def latest_of(*others: Operation, deaths: list[float]) -> float:
    return limit([made(1, None), *others], next_of(deaths))[0].latest


def test_what_a_dead_process_was_asked_has_its_effect_before_what_was_done_later() -> None:
    assert latest_of(made(3, 5), made(4, 4.5), made(6, 7), deaths=[2]) == 4.5
    assert latest_of(made(3, 5), deaths=[2, 4]) == 5


@pytest.mark.parametrize(
    ("other", "deaths"),
    [
        (made(3, 5), []),  # it lives
        (made(3, 5), [0.5]),  # another one died
        (made(3, 5), [4]),  # that was done before
        (made(3, 5, key="c/k"), [2]),  # in another partition
        (made(3, None), [2]),
        (Operation(0, "b/k", "read", None, 3, 5), [2]),
    ],
)
def test_else_it_may_have_it_at_any_time(other: Operation, deaths: list[float]) -> None:
    assert math.isinf(latest_of(other, deaths=deaths))
