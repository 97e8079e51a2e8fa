"""Requests as the ASGI server hands them over, and bodies in pieces, for tests of what reads them."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.types import Message, Receive

from gateway.request import Request

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"


class Keys:
    """The one key there is."""

    def secret(self, access_key: str) -> str | None:
        return SECRET if access_key == ACCESS_KEY else None

    def user(self, access_key: str) -> str:
        assert access_key == ACCESS_KEY
        return "someone"


def receive_from(pieces: Iterable[bytes], *, breaks_off: bool = False) -> Receive:
    waiting = list(pieces) or [b""]

    async def receive() -> Message:
        if not waiting:
            return {"type": "http.disconnect"}
        piece = waiting.pop(0)
        return {"type": "http.request", "body": piece, "more_body": breaks_off or bool(waiting)}

    return receive


def request(
    method: str = "GET",
    url: str = "/",
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    *,
    body: Iterable[bytes] = (),
    breaks_off: bool = False,
    domain: str = "",
) -> Request:
    """`url` is the raw target as it stands in the request line, or a whole URL."""
    parts = urlsplit(url)
    given = list(headers.items()) if isinstance(headers, dict) else headers or []
    scope: dict[str, Any] = {
        "method": method,
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in given],
    }
    return Request(scope, receive_from(body, breaks_off=breaks_off)).parse(scope, domain)
