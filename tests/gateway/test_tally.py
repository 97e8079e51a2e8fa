"""What is counted of requests: each once, under what became of it."""

import asyncio
from typing import Any

from gateway.app import S3App
from gateway.context import Gateway
from gateway.tally import BOUNDS_S, GONE, Durations, Tally
from tests.gateway.requests import Keys, receive_from


def test_a_duration_falls_into_the_first_bound_that_it_does_not_exceed() -> None:
    found = Durations()
    for seconds in (0.0, BOUNDS_S[0], BOUNDS_S[0] + 1e-9, BOUNDS_S[-1] + 1):
        found.add(seconds)
    assert found.counts == [2, 1, *[0] * (len(BOUNDS_S) - 2), 1]
    assert found.sum_s == sum((0.0, BOUNDS_S[0], BOUNDS_S[0] + 1e-9, BOUNDS_S[-1] + 1))


def asked(tally: Tally, method: str, path: str, *headers: tuple[bytes, bytes]) -> int:
    """The status that the application answered a client which broke off, 0 where it did not answer."""
    statuses: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": list(headers)}
    nothing: Any = None
    app = S3App(Gateway(nothing, nothing, nothing, Keys(), "us-east-1", tally=tally))
    asyncio.run(app(scope, receive_from([b"--x\r\n"], breaks_off=True), send))
    return statuses[0] if statuses else 0


def test_refusals_count_under_their_operation_or_under_none() -> None:
    tally = Tally()
    assert asked(tally, "GET", "/") == 403
    assert asked(tally, "PATCH", "/bucket/key") == 405
    assert dict(tally.answers) == {("ListBuckets", 403): 1, ("", 405): 1}
    assert sum(tally.durations["ListBuckets"].counts) == 1
    assert tally.sent_bytes > 0


def test_a_client_that_broke_off_counts_as_gone() -> None:
    tally = Tally()
    form = ((b"content-type", b"multipart/form-data; boundary=x"), (b"content-length", b"1000"))
    assert asked(tally, "POST", "/bucket", *form) == 0
    assert dict(tally.answers) == {("PostObject", GONE): 1}
    assert tally.received_bytes == len(b"--x\r\n")
