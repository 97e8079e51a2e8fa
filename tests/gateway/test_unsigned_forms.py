"""What a form may cost before anybody has said who they are: so many bytes, so much time. In virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from gateway.context import Gateway
from gateway.errors import S3Error
from gateway.form import PRE_FILE_BYTES_MAX
from gateway.post import UNSIGNED_S_MAX, post_object
from gateway.request import Request
from tests import virtual
from tests.gateway.forms import BOUNDARY, part
from tests.gateway.requests import Keys

HUGE = 4 << 30


def posted(receive: Callable[[], Awaitable[Any]]) -> tuple[str, Request]:
    """(how a form is refused that announces more than it ever sends, the request)."""
    kind = f"multipart/form-data; boundary={BOUNDARY}".encode()
    headers = [(b"content-type", kind), (b"content-length", str(HUGE).encode())]
    scope = {"method": "POST", "path": "/b", "raw_path": b"/b", "query_string": b"", "headers": headers}
    asked = Request(scope, receive).parse(scope, "")
    nothing: Any = None

    async def case() -> str:
        with pytest.raises(S3Error) as raised:
            await post_object(Gateway(nothing, nothing, nothing, Keys(), "us-east-1"), asked)
        return raised.value.code

    return virtual.run(case()), asked


def endless(piece: bytes, every_s: float) -> Callable[[], Awaitable[Any]]:
    async def receive() -> Any:
        await asyncio.sleep(every_s)
        return {"type": "http.request", "body": piece, "more_body": True}

    return receive


PIECES = {
    "before the first part": b"x" * 1000,
    "a part's head": b"\r\n" + b"x-y: z\r\n" * 10,
    "a field": b"y" * 1000,
    "many fields": part("x-ignore-a", b"") * 5,
}


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
def test_what_comes_before_the_file_has_a_bound_in_all(piece: bytes) -> None:
    code, asked = posted(endless(piece, 0.001))
    assert code in ("MaxPostPreDataLengthExceeded", "MalformedPOSTRequest", "InvalidArgument")
    assert asked.received_bytes <= PRE_FILE_BYTES_MAX + len(piece)
    assert not asked.is_drained  # so the connection is closed


@pytest.mark.parametrize("piece", [b"x", b"\r\n"])
def test_who_sends_a_byte_now_and_then_has_one_deadline(piece: bytes) -> None:
    started: list[float] = []

    async def receive() -> Any:
        started.append(asyncio.get_running_loop().time())
        await asyncio.sleep(8)
        return {"type": "http.request", "body": piece, "more_body": True}

    assert posted(receive)[0] == "RequestTimeout"
    assert started[-1] - started[0] < UNSIGNED_S_MAX


def test_a_form_that_begins_in_time_may_take_longer_for_its_file() -> None:
    """The deadline ends with what is not signed: after it the signature is looked at, not the clock."""
    pieces = [
        part("key", b"k"),
        part("policy", b"e30="),
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"'.encode(),
    ]

    async def receive() -> Any:
        if pieces:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": True}
        await asyncio.sleep(UNSIGNED_S_MAX - 1)
        return {"type": "http.request", "body": b"\r\n\r\n", "more_body": True}

    assert posted(receive)[0] == "InvalidArgument"  # it has no signature
