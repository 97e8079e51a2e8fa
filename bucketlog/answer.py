"""One answer's way out: its head goes with the first bytes of its body, in one packet and one system call.

Whoever asks for small objects is answered by two of each otherwise. What is not followed by a body at once goes alone.
"""

import asyncio
from collections.abc import Callable
from typing import Any

JOINED_BYTES_MAX = 64 << 10  # a copy of more costs what it spares
_INTERIM = b"HTTP/1.1 1"


class AnswerTransport:
    """The part of a transport that uvicorn's cycle of one request uses."""

    __slots__ = ("_head", "_loop", "_transport", "is_closing", "write")

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self.is_closing = transport.is_closing
        self.write: Callable[[bytes], None] = self._begin

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _begin(self, head: bytes, /) -> None:
        if head.startswith(_INTERIM):  # 100 Continue: the client waits for it
            self._transport.write(head)
            return
        self._head = head
        self.write = self._join
        self._loop.call_soon(self._flush)

    def _join(self, data: bytes, /) -> None:
        if self._head and len(data) <= JOINED_BYTES_MAX:
            data, self._head = self._head + data, b""
        self._flush()
        self.write = self._transport.write
        self._transport.write(data)

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)
