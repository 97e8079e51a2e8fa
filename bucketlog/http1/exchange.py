"""One request and its answer, as ASGI has them: the request's body in pieces as they came, the answer in few writes.

The head of an answer goes with the first bytes of its body, in one packet and one system call; without them it goes alone,
at the loop's next turn. An answer that comes before all of its request is the connection's last.
"""

import asyncio
import functools
import logging
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from time import time
from typing import Protocol

from starlette.types import ASGIApp, Message, Scope

WAITING_BYTES_MAX = 256 << 10  # of a body, before its connection is read no more
JOINED_BYTES_MAX = 64 << 10  # a copy of more costs what it spares
_PIECE_BYTES = 64  # what a piece costs beside its bytes
_CONTROL = bytes([*range(9), 11, 12, *range(14, 32), 127])  # what no head can hold, beside its ends of lines
_STATUS_LINES = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n".encode() for each in HTTPStatus}
_BODILESS = (204, 304)
log = logging.getLogger(__name__)


class Carrier(Protocol):
    """What an exchange needs of its connection."""

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    writable: asyncio.Future[None] | None

    def is_closing(self) -> bool: ...

    def close(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def answered(self, exchange: "Exchange") -> None: ...

    def end(self, exchange: "Exchange") -> None: ...


class Exchange:
    __slots__ = (
        "_awaits_continue",
        "_carrier",
        "_head",
        "_is_chunked",
        "_is_complete",
        "_is_gone",
        "_is_told",
        "_left",
        "_method",
        "_pieces",
        "_scope",
        "_waiter",
        "_waiting_bytes",
        "is_begun",
        "is_last",
        "is_received",
        "received_bytes",
        "task",
    )

    def __init__(self, carrier: Carrier, scope: Scope, *, is_last: bool, awaits_continue: bool) -> None:
        self._carrier = carrier
        self._scope = scope
        self._method: str = scope["method"]
        self.task: asyncio.Task[None] | None = None
        self.is_last = is_last  # whether the connection ends with it
        # the request
        self._awaits_continue = awaits_continue
        self._pieces = deque[bytes]()
        self._waiting_bytes = 0
        self.received_bytes = 0
        self.is_received = False
        self._is_told = False  # that this was all
        self._is_gone = False  # the client, or what it sent is no HTTP
        self._waiter: asyncio.Future[None] | None = None
        # the answer
        self.is_begun = False
        self._head = b""  # that was not written yet
        self._is_chunked = False
        self._left: int | None = None  # bytes of the body; None where nothing bounds it
        self._is_complete = False

    async def run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self.receive, self.send)
            if not (self._is_complete or self._is_gone):
                raise RuntimeError("the application ended without a whole answer")
        except asyncio.CancelledError:  # the server stops
            self._carrier.close()
            raise
        except Exception:
            if not self._is_gone:
                log.exception("a request was not answered as it should be")
                self._fail()
        finally:
            self._carrier.end(self)

    # the request

    def take(self, piece: bytes) -> None:
        """Of the body, when it comes."""
        self.received_bytes += len(piece)
        if self._is_complete or self._is_gone:
            return
        self._pieces.append(piece)
        self._waiting_bytes += len(piece) + _PIECE_BYTES
        if self._waiting_bytes > WAITING_BYTES_MAX:
            self._carrier.pause_reading()
        self._wake()

    def end_body(self) -> None:
        self.is_received = True
        self._wake()

    def leave(self) -> None:
        """There is nobody to answer."""
        self._is_gone = True
        self._pieces.clear()
        self._wake()

    async def receive(self) -> Message:
        if self._awaits_continue:
            self._awaits_continue = False
            if not self._carrier.is_closing():
                self._carrier.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self._pieces or self._is_gone or self._is_complete or (self.is_received and not self._is_told)):
            self._carrier.resume_reading()
            self._waiter = self._carrier.loop.create_future()
            await self._waiter
        if self._is_gone or self._is_complete:
            return {"type": "http.disconnect"}
        piece = b""
        if self._pieces:
            piece = self._pieces.popleft()
            self._waiting_bytes -= len(piece) + _PIECE_BYTES
        self._is_told = self.is_received and not self._pieces
        return {"type": "http.request", "body": piece, "more_body": not self._is_told}

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # the answer

    async def send(self, message: Message) -> None:
        while self._carrier.writable is not None and not self._is_gone:
            await asyncio.shield(self._carrier.writable)
        if self._is_gone:
            return
        if not self.is_begun:
            if message["type"] != "http.response.start":
                raise RuntimeError(f"an answer cannot begin with {message['type']}")
            self._begin(message)
        elif self._is_complete or message["type"] != "http.response.body":
            raise RuntimeError(f"an answer cannot go on with {message['type']}")
        else:
            self._write(message.get("body", b""), is_last=not message.get("more_body", False))

    def _begin(self, message: Message) -> None:
        """Header names are in lower case, as ASGI has them."""
        self.is_begun, self._awaits_continue = True, False
        status: int = message["status"]
        head = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status, date(int(time()))]
        lines = 2
        says_close = False
        for name, value in message.get("headers", ()):
            if name == b"content-length":
                self._left = int(value)
            elif name == b"connection":
                says_close = b"close" in value.lower()
            head += (name, b": ", value, b"\r\n")
            lines += 1
        self.is_last |= says_close or not self.is_received
        if self._method == "HEAD" or status in _BODILESS:
            self._left = 0
        elif self._left is None:
            if self._scope["http_version"] == "1.0":
                self.is_last = True  # the end of the connection is the body's
            else:
                self._is_chunked = True
                head.append(b"transfer-encoding: chunked\r\n")
                lines += 1
        if self.is_last and not says_close:
            head.append(b"connection: close\r\n")
            lines += 1
        head.append(b"\r\n")
        joined = b"".join(head)
        if (
            joined.count(b"\n") != lines + 1
            or joined.count(b"\r") != lines + 1
            or joined.translate(None, _CONTROL) != joined
        ):
            self.is_begun = False
            raise RuntimeError("a header holds what would be another's")
        self._head = joined
        self._carrier.loop.call_soon(self._flush)

    def _write(self, body: bytes, *, is_last: bool) -> None:
        if self._method == "HEAD":
            body = b""
        if self._is_chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if is_last:
                body += b"0\r\n\r\n"
        elif self._left is not None:
            self._left -= len(body)
            if self._left < 0 or (is_last and self._left):
                raise RuntimeError("the answer has another length than it says")
        head, self._head = self._head, b""
        if not head:
            self._carrier.transport.write(body)
        elif len(body) <= JOINED_BYTES_MAX:
            self._carrier.transport.write(head + body)
        else:
            self._carrier.transport.writelines((head, body))
        if is_last:
            self._complete()

    def _flush(self) -> None:
        """Nothing follows yet."""
        if self._head and not self._is_gone:
            head, self._head = self._head, b""
            self._carrier.transport.write(head)

    def _complete(self) -> None:
        self._is_complete = True
        self._pieces.clear()
        self._wake()
        self._carrier.answered(self)

    def _fail(self) -> None:
        """An answer that is under way breaks off: its length tells."""
        if self._is_complete:
            return
        if self.is_begun:
            self._head = b""
            self._carrier.transport.abort()
            return
        self.is_begun = self.is_last = True
        head = b"%bcontent-length: 0\r\nconnection: close\r\n\r\n" % date(int(time()))
        self._carrier.transport.write(_STATUS_LINES[500] + head)
        self._complete()


@functools.lru_cache(1)
def date(time_s: int) -> bytes:
    """The header line of this second (RFC 9110 §5.6.7). It is of when the answer is written: that of the second before, or
    of the request's head, were too early for what the request made."""
    return b"date: %b\r\n" % formatdate(time_s, usegmt=True).encode()
