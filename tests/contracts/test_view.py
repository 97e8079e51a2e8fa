"""The contract of the `View` port, over every adapter, and of the overlay on top of each."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.memory import MemoryView
from processors.view import Overlay, View
from tests.simulation.table import MemoryTable
from topics.rocksdb import RocksMap

Open = Callable[[], View]


@pytest.fixture(params=["memory", "simulated", "rocksdb"])
def open_view(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "rocksdb":
        return lambda: RocksMap(tmp_path)
    memory = MemoryView() if request.param == "memory" else MemoryTable()
    return lambda: memory


def test_commits_and_scans_in_byte_order(open_view: Open) -> None:
    view = open_view()
    view.commit({b"b": b"2", b"a": b"1", b"\xff\xff": b"9", b"": b"0", b"a\0": b"3"})
    assert list(view.scan(b"a", b"c")) == [(b"a", b"1"), (b"a\0", b"3"), (b"b", b"2")]
    view.commit({b"a": None, b"missing": None, b"b": b""})
    assert (view.get(b"a"), view.get(b"b"), view.get(b"missing")) == (None, b"", None)
    assert list(view.scan(b"c", b"a")) == []
    view.close()
    view = open_view()
    assert [key for key, _ in view.scan(b"", b"\xff\xff\xff")] == [b"", b"a\0", b"b", b"\xff\xff"]
    view.close()


Changes = st.dictionaries(st.binary(max_size=2), st.none() | st.binary(max_size=2), max_size=8)


@given(Changes, Changes, st.binary(max_size=2), st.binary(max_size=2))
def test_overlay_reads_as_if_committed(
    first: dict[bytes, bytes | None], second: dict[bytes, bytes | None], start: bytes, end: bytes
) -> None:
    base = MemoryView()
    base.commit(first)
    overlay = Overlay(base)
    overlay.changes.update(second)
    committed = MemoryView()
    committed.commit(first)
    committed.commit(second)
    assert list(overlay.scan(start, end)) == list(committed.scan(start, end))
    assert all(overlay.get(key) == committed.get(key) for key in first | second)


def test_scan_outlives_its_caller_and_other_work(open_view: Open) -> None:
    view = open_view()
    view.commit({b"k%03d" % number: b"v" for number in range(300)})
    scan = view.scan(b"k", b"l")
    seen = []
    for key, _ in scan:
        seen.append(key)
        view.commit({b"a" + key: b"other"})
    assert seen == [b"k%03d" % number for number in range(300)]
    view.close()


def test_clearing_leaves_nothing(open_view: Open) -> None:
    view = open_view()
    view.clear()
    view.commit({b"": b"0", b"a": b"1", b"\xff\xff\xff": b"9"})
    view.clear()
    assert list(view.scan(b"", b"\xff" * 9)) == []
    view.commit({b"b": b"2"})
    view.close()
    view = open_view()
    assert list(view.scan(b"", b"\xff" * 9)) == [(b"b", b"2")]
    view.close()
