"""What clients saw of one process, killed under them; and the measure of outages."""

import time
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from tests.linearizability.checker import check
from tests.linearizability.history import kept_on_failure
from tests.linearizability.latest import limit, next_of
from tests.linearizability.load import BUCKETS, Load
from tests.linearizability.operations import Kind, Operation
from tests.linearizability.outages import longest_outage_s
from tests.linearizability.recorder import Attempt
from tests.linearizability.stream import check_events
from tests.load.checks import stream
from tests.server import Server


@pytest.mark.faults
def test_one_process_that_is_killed_is_linearizable(tmp_path: Path) -> None:
    server = Server(tmp_path).start()
    load = Load([server.endpoint]).start()
    deaths = []
    with kept_on_failure("one-process", lambda: load.operations):
        for _ in range(3):
            time.sleep(2)
            server.kill()
            deaths.append(time.monotonic())
            server.start()
        load.wait_until_served(10)
        load.stop()
        print(load.summary)
        assert load.wrong == []
        assert check(limit(load.operations, next_of(deaths))) is None
        assert Counter(each.kind for each in load.operations).keys() == set(get_args(Kind))
        for bucket in BUCKETS:
            assert check_events(bucket, stream(server, bucket), load.operations) == []
    assert server.stop() == 0


def attempt(started: float, ended: float, *, failed: bool = False) -> Attempt:
    return Attempt(0, "b", False, started, ended, "503" if failed else "")


@pytest.mark.parametrize(
    ("attempts", "longest_s"),
    [
        ([], 0),
        ([attempt(0, 1), attempt(5, 5.5)], 1),  # nobody asked in between
        ([attempt(0, 0.5), attempt(1, 3, failed=True), attempt(3, 6)], 5),
        ([attempt(0, 9), attempt(2, 3)], 3),  # one waited long, another was answered
        ([attempt(0, 1), attempt(2, 3, failed=True), attempt(3, 8, failed=True)], 6),  # never answered again
        ([attempt(0, 4, failed=True)], 4),
    ],
)
def test_an_outage_lasts_from_a_request_to_the_next_answer(attempts: list[Attempt], longest_s: float) -> None:
    assert longest_outage_s(attempts) == longest_s


def created(value: str) -> dict[str, object]:
    return {"event": {"eventName": "ObjectCreated:Put", "key": "k", "eTag": value}}


REMOVED = {"event": {"eventName": "ObjectRemoved:Delete", "key": "k"}}
WRITES = [Operation(0, "b/k", "write", '"1"', 0, 1), Operation(1, "b/k", "write", '"2"', 2, 3)]


def test_a_stream_that_fits() -> None:
    assert check_events("b", [created("1"), created("2")], WRITES) == []
    assert check_events("b", [], [Operation(0, "b/k", "write", '"1"', 0, None)]) == []


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([created("1")], "acknowledged"),
        ([created("1"), created("1"), created("2")], "more than once"),
        ([created("1"), created("2"), created("3")], "nobody wrote"),
        ([created("2"), created("1")], "is before"),
        ([created("1"), REMOVED, created("2")], "more deletions"),
        ([created("1"), created("2")], "read last"),
    ],
)
def test_a_stream_that_does_not_fit(events: list[dict[str, object]], why: str) -> None:
    read = [Operation(0, "b/k", "read", '"1"', 4, 5)] if why == "read last" else []
    assert any(why in each for each in check_events("b", events, [*WRITES, *read]))
