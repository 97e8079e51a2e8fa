"""Uvicorn's HTTP protocol with bounds on what a client may send before it is known who it is.

Without them a request's head grows for as long as a client sends it, and a silent connection stays for ever. And a client
that is answered before it has sent all gets to read the answer: see `linger`; one that does not is ended: see `unread`.
"""

import asyncio
import functools
from collections.abc import Iterable
from email.utils import formatdate
from time import time
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bucketlog.answer import AnswerTransport
from bucketlog.linger import LingeringTransport
from bucketlog.unread import UnreadWatch
from gateway.tally import IS_GONE

HEAD_BYTES_MAX = 32 << 10  # on the wire; S3's bound of 16 KiB for the headers is told by the gateway
HEAD_S_MAX = 15.0  # from a request's first byte (or the connection) to the end of its head
REFUSED_BYTES_MAX = 256 << 10  # read and dropped of what is no HTTP request
STOPPING_S_MAX = 1.0  # for which a connection lingers when the server stops


class _Dated(list[tuple[bytes, bytes]]):
    """Of all answers. Uvicorn's own date is of the second before, or of a request's head: too early for what it made."""

    def __add__(self, others: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:  # type: ignore[override]
        return [_date(int(time())), *others]


@functools.lru_cache(1)
def _date(time_s: int) -> tuple[bytes, bytes]:
    """The header of this second (RFC 9110 §5.6.7)."""
    return b"date", formatdate(time_s, usegmt=True).encode()


_HEADERS = _Dated()


class BoundedProtocol(HttpToolsProtocol):
    _timer: asyncio.TimerHandle | None = None  # runs while a head is awaited
    _head_bytes = 0
    _closing: LingeringTransport
    _unread: UnreadWatch

    def connection_made(self, transport: Any) -> None:
        self._closing = LingeringTransport(transport, self.loop, self._is_sending)
        self._unread = UnreadWatch(transport, self.loop)
        super().connection_made(cast(asyncio.Transport, self._closing))
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._unread.end()
        self._closing.end()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._begin_head()
        super().on_message_begin()
        self.scope["state"][IS_GONE] = self._closing.is_closing

    def on_response_complete(self) -> None:
        self._unread.begin()  # of its end: what is less than the transport pauses for
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.begin()

    def resume_writing(self) -> None:
        self._unread.end()
        super().resume_writing()

    def on_headers_complete(self) -> None:
        self._end_head()
        super().on_headers_complete()
        if self.cycle is not None:
            self.cycle.default_headers = _HEADERS
            self.cycle.transport = cast(asyncio.Transport, AnswerTransport(self._closing, self.loop))

    def data_received(self, data: bytes) -> None:
        if self._closing.is_lingering:
            self._closing.drop(data)
            return
        super().data_received(data)
        if self._timer is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("The request's header section exceeds the maximum allowed size.")

    def send_400_response(self, msg: str) -> None:
        """For what is no HTTP request; S3's form, as no gateway sees it."""
        self._end_head()
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>BadRequest</Code><Message>{msg}</Message></Error>'
        _, date = _date(int(time()))
        fields = (
            f"date: {date.decode()}\r\ncontent-type: application/xml\r\ncontent-length: {len(body)}\r\nconnection: close"
        )
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{fields}\r\n\r\n{body}".encode())
        if self.cycle is not None and not self.cycle.response_complete:  # whoever reads the body learns of it
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._unread.begin()
        self._closing.linger(REFUSED_BYTES_MAX)

    def shutdown(self) -> None:
        self._closing.s_max = STOPPING_S_MAX
        if self._closing.is_lingering:
            self._closing.end()
        else:
            super().shutdown()

    def _is_sending(self) -> bool:
        """Whether a request was answered of which not all has come."""
        return self.cycle is not None and self.cycle.more_body

    def _begin_head(self) -> None:
        self._end_head()
        self._head_bytes = 0
        self._timer = self.loop.call_later(HEAD_S_MAX, self._too_slow)

    def _end_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self.transport.close()
