"""What a recorder makes of the answers of a real store."""

import pytest

from tests.kafka.cluster import Cluster
from tests.linearizability.checker import check
from tests.linearizability.operations import Kind
from tests.linearizability.recorder import Recorder, etag
from tests.server import Server, client_of, free_port

A, B, C = (etag(each) for each in (b"a", b"b", b"c"))
KEYS = [f"k{number}" for number in range(5)]
Told = tuple[str, Kind, str | None, str | None]


@pytest.fixture
def recorder(server: Server | Cluster) -> Recorder:
    s3 = server.client()
    s3.create_bucket(Bucket="recorded")
    return Recorder(s3, 0)


def told(recorder: Recorder) -> list[Told]:
    found = [(each.key.removeprefix("recorded/"), each.kind, each.value, each.expected) for each in recorder.operations]
    assert all(each.ended is not None for each in recorder.operations)
    assert recorder.wrong == []
    recorder.operations.clear()
    return found


def test_conditions_and_pages(recorder: Recorder) -> None:
    recorder.put("recorded", "k0", b"a", only_create=True)
    recorder.put("recorded", "k0", b"b", only_create=True)
    recorder.put("recorded", "k0", b"b", expected=B)
    recorder.put("recorded", "k0", b"b", expected=A)
    recorder.put("recorded", "k1", b"c", expected=A)
    history = list(recorder.operations)
    assert told(recorder) == [
        ("k0", "create", A, None),
        ("k0", "refused", None, None),
        ("k0", "refused", None, B),
        ("k0", "replace", B, A),
        ("k1", "read", None, None),
    ]
    recorder.delete("recorded", "k0", A)
    recorder.delete("recorded", "k0", B)
    recorder.delete("recorded", "k0", B)
    recorder.delete("recorded", "k0")
    history += recorder.operations
    assert told(recorder) == [
        ("k0", "refused", None, A),
        ("k0", "replace", None, B),
        ("k0", "read", None, None),
        ("k0", "write", None, None),
    ]
    for key in ("k0", "k2", "k3"):
        recorder.put("recorded", key, b"c")
    history += recorder.operations
    told(recorder)
    recorder.list_pages("recorded", KEYS, 2)
    history += recorder.operations
    pages = sorted({(each.started, each.ended) for each in recorder.operations})
    assert [[each.key[-2:] for each in recorder.operations if each.started == started] for started, _ in pages] == [
        ["k0", "k1", "k2"],
        ["k3", "k4"],
    ]
    assert [value for _, _, value, _ in told(recorder)] == [C, None, C, C, None]
    recorder.list_some("recorded", KEYS, "k2", 1)
    history += recorder.operations
    assert told(recorder) == [("k3", "read", C, None), ("k4", "read", None, None)]
    assert check(history) is None
    assert [each.error for each in recorder.attempts] == [""] * len(recorder.attempts)


def test_what_was_not_sent_is_no_operation() -> None:
    recorder = Recorder(client_of(f"http://127.0.0.1:{free_port()}"), 0)
    recorder.put("recorded", "k0", b"a")
    recorder.get("recorded", "k0")
    assert recorder.operations == []
    assert all("EndpointConnectionError" in each.error for each in recorder.attempts)
    assert len(recorder.attempts) == 2
