"""One connection: what comes is split into requests, one exchange at a time is answered, and all of it is bounded.

Without bounds a request's head grows for as long as a client sends it, and a silent connection stays for ever. And a client
that is answered before it has sent all gets to read the answer: see `linger`; one that does not is ended: see `unread`.
httptools reads heads, and bodies that come with them or in chunks; of a body whose length is known, the rest is passed on
as it came.
Uvicorn's server accepts connections and ends them: `shutdown`.
"""

import asyncio
import logging
from collections import deque
from time import time
from typing import Any, cast
from urllib.parse import unquote

import httptools
from starlette.types import ASGIApp, Scope
from uvicorn import Config
from uvicorn.server import ServerState

from bucketlog.http1.exchange import Exchange, date
from bucketlog.http1.linger import Linger
from bucketlog.http1.unread import UnreadWatch
from gateway.tally import IS_GONE

HEAD_BYTES_MAX = 32 << 10  # on the wire; S3's bound of 16 KiB for the headers is told by the gateway
HEAD_S_MAX = 15.0  # from a request's first byte (or the connection) to the end of its head
IDLE_S_MAX = 5.0  # between two requests
REFUSED_BYTES_MAX = 256 << 10  # read and dropped of what is no HTTP request
STOPPING_S_MAX = 1.0  # for which a connection lingers when the server stops
_ASGI = {"version": "3.0", "spec_version": "2.3"}
_NOTED = frozenset((b"content-length", b"expect"))
log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    transport: asyncio.Transport
    _linger: Linger
    _unread: UnreadWatch
    _shared: Scope  # what all scopes of the connection have
    _parser: Any

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """As uvicorn makes them."""
        self._app: ASGIApp = config.loaded_app
        self._server = server_state
        self.loop = _loop or asyncio.get_running_loop()
        self._is_in_head = True
        self._has_ended_message = False  # within what came last
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None  # runs while a head is awaited
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_since_s = 0.0
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._length: int | None = None  # of the body, where its head tells
        self._awaits_continue = False
        self._offers_upgrade = False
        self._body_left = 0  # bytes that are not for the parser
        self._arriving: Exchange | None = None  # whose request came last
        self._answering: Exchange | None = None
        self._waiting: deque[Exchange] = deque()  # for those before them to be answered
        self._is_reading = True
        self.writable: asyncio.Future[None] | None = None  # to be awaited before more is written

    # the connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport = cast(asyncio.Transport, transport)
        self._linger = Linger(transport, self.loop)
        self._unread = UnreadWatch(transport, self.loop)
        self._server.connections.add(self)  # type: ignore[arg-type]
        self._shared = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "1.1",
            "server": _address(transport, "sockname"),
            "client": _address(transport, "peername"),
            "scheme": "http",
            "root_path": "",
        }
        self._parser = httptools.HttpRequestParser(self)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        for timer in (self._head_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._unread.end()
        self._linger.end()
        for exchange in (self._answering, self._arriving):
            if exchange is not None:
                exchange.leave()
        self._waiting.clear()
        self.resume_writing()
        self._parser = None

    def is_closing(self) -> bool:
        return self._linger.is_begun or self.transport.is_closing()

    def close(self) -> None:
        """All that was written is sent before. A client that still sends gets to read it."""
        if self.is_closing():
            return
        if self._arriving is not None and not self._arriving.is_received:
            self._linger.begin()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Of the server: what is being answered is answered."""
        self._linger.s_max = STOPPING_S_MAX
        self._waiting.clear()
        if self._linger.is_begun:
            self._linger.end()
        elif self._answering is None:
            self.close()
        else:
            self._answering.is_last = True

    # what comes

    def data_received(self, data: bytes) -> None:
        if self._linger.is_begun:
            self._linger.drop(data)
            return
        if self._body_left:
            data = self._take(data)
        self._has_ended_message = False
        while data:
            data = self._parse(data)
        if self._is_in_head and self._head_timer is None:
            self._await_head()

    def _parse(self, data: bytes) -> bytes:
        """What is left for another parser."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:  # to nothing: it is a request as any (RFC 9110 §7.8)
            self._parser = httptools.HttpRequestParser(self)
            self._body_left = self._length or 0
            rest = data[upgrade.args[0] :]
            return self._take(rest) if self._body_left else rest
        except httptools.HttpParserError as error:
            if self._arriving is None or not (self._arriving.is_last and self._arriving.is_received):
                log.warning("refused what is no HTTP request: %s", error)
                self._refuse("Invalid HTTP request received.")
            return b""
        if self._is_in_head:
            self._head_bytes += 0 if self._has_ended_message else len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse("The request's header section exceeds the maximum allowed size.")
        elif self._length and self._arriving is not None and not self._arriving.is_received:
            self._body_left = self._length - self._arriving.received_bytes
            self._parser = httptools.HttpRequestParser(self)
        return b""

    def _take(self, data: bytes) -> bytes:
        """A body's next bytes, as they are; what comes after them is left."""
        left = self._body_left
        piece, rest = (data, b"") if len(data) <= left else (data[:left], data[left:])
        self._body_left -= len(piece)
        self.on_body(piece)
        if not self._body_left:
            self.on_message_complete()
        return rest

    def on_message_begin(self) -> None:
        self._is_in_head = True
        self._head_bytes = 0
        self._url = b""
        self._headers = []
        self._length, self._awaits_continue = None, False

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._headers.append((name, value))
        if name in _NOTED:
            if name == b"content-length":
                self._length = int(value)
            else:
                self._awaits_continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        parser, url = self._parser, self._url
        self._offers_upgrade = bool(parser.should_upgrade())
        if self._offers_upgrade and any(name == b"transfer-encoding" for name, _ in self._headers):
            raise ValueError("httptools would take the body for another protocol's")
        if url.startswith(b"/") and b"#" not in url:
            path, _, query = url.partition(b"?")
        else:  # of a proxy, or of nobody
            parsed = httptools.parse_url(url)
            path, query = parsed.path or b"/", parsed.query or b""
        decoded = path.decode("ascii")
        version = parser.get_http_version()
        scope = {
            **self._shared,
            "method": parser.get_method().decode("ascii"),
            "path": unquote(decoded) if "%" in decoded else decoded,
            "raw_path": path,
            "query_string": query,
            "headers": self._headers,
            "state": {IS_GONE: self.is_closing},
        }
        if version != "1.1":
            scope["http_version"] = version
        is_last = version == "1.0" or not parser.should_keep_alive()
        exchange = Exchange(self, scope, is_last=is_last, awaits_continue=self._awaits_continue)
        self._arriving = exchange
        if self._answering is None:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self.pause_reading()

    def on_body(self, body: bytes) -> None:
        if self._arriving is not None:
            self._arriving.take(body)

    def on_message_complete(self) -> None:
        if self._offers_upgrade and self._length:  # httptools leaves the body alone
            self._offers_upgrade = False
            return
        self._has_ended_message = True
        if self._arriving is not None:
            self._arriving.end_body()

    def _refuse(self, why: str) -> None:
        """For what is no HTTP request; S3's form, as no gateway sees it."""
        if self.is_closing():
            return
        error = f"<Error><Code>BadRequest</Code><Message>{why}</Message></Error>"
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n{error}'.encode()
        fields = b"content-type: application/xml\r\ncontent-length: %d\r\nconnection: close\r\n" % len(body)
        if self._answering is None or not self._answering.is_begun:
            self.transport.write(b"HTTP/1.1 400 Bad Request\r\n" + date(int(time())) + fields + b"\r\n" + body)
        for exchange in (self._answering, self._arriving):  # whoever reads the body learns of it
            if exchange is not None:
                exchange.leave()
        self._unread.begin()
        self._linger.begin(REFUSED_BYTES_MAX)

    # exchanges

    def _start(self, exchange: Exchange) -> None:
        self._answering = exchange
        exchange.task = task = self.loop.create_task(exchange.run(self._app))
        self._server.tasks.add(task)

    def end(self, exchange: Exchange) -> None:
        """Its application has ended."""
        if exchange.task is not None:
            self._server.tasks.discard(exchange.task)

    def answered(self, exchange: Exchange) -> None:
        """All of the answer was written."""
        self._server.total_requests += 1
        self._answering = None
        self._unread.begin()  # of its end: what is less than the transport pauses for
        if exchange.is_last:
            self.close()  # in two steps where the client still sends
        elif not self.is_closing():
            if self._waiting:
                self._start(self._waiting.popleft())
            else:
                self._await_next()
            if not self._waiting:
                self.resume_reading()

    def pause_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._is_reading and not self._waiting:
            self._is_reading = True
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self._unread.begin()
        if self.writable is None:
            self.writable = self.loop.create_future()

    def resume_writing(self) -> None:
        self._unread.end()
        writable, self.writable = self.writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # what does not come

    def _await_head(self) -> None:
        """What comes at once, as most do, needs no timer."""
        self._head_timer = self.loop.call_later(HEAD_S_MAX, self.transport.close)

    def _await_next(self) -> None:
        """One timer for all requests of a while."""
        self._idle_since_s = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(IDLE_S_MAX, self._look)

    def _look(self) -> None:
        self._idle_timer = None
        if self._answering is not None or self._is_in_head:
            return
        end_s = self._idle_since_s + IDLE_S_MAX
        if self.loop.time() < end_s:
            self._idle_timer = self.loop.call_at(end_s, self._look)
        else:
            self.close()


def _address(transport: asyncio.Transport, name: str) -> tuple[str, int] | None:
    found = transport.get_extra_info(name)
    return (str(found[0]), int(found[1])) if isinstance(found, tuple) else None
