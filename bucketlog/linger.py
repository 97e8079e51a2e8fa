"""How a connection ends whose client still sends: so that it gets to read the answer, and no reset before it.

A socket that is closed with bytes unread is reset, and the reset may discard the answer on the client's side. So first only
our own side is closed; what comes is read and dropped until the client closes too, within bounds (RFC 9112 §9.6).
"""

import asyncio
from collections.abc import Callable
from typing import Any

IDLE_S_MAX = 5.0  # without a byte
S_MAX = 30.0  # in all
BYTES_MAX = 128 << 20


class LingeringTransport:
    """A transport that is closed in two steps while the client sends. All that is to be answered is written before."""

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop, is_sending: Callable[[], bool]) -> None:
        self._transport = transport
        self._loop = loop
        self._is_sending = is_sending  # whether more of a request is to come
        self._timer: asyncio.TimerHandle | None = None
        self._until_s = self._heard_s = 0.0
        self._room_bytes = 0
        self.is_lingering = False
        self.s_max = S_MAX
        self.write = transport.write  # the request path costs no call more
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def is_closing(self) -> bool:
        return self.is_lingering or bool(self._transport.is_closing())

    def close(self) -> None:
        if not self.is_closing() and self._is_sending():
            self.linger(BYTES_MAX)
        elif not self.is_lingering:
            self._transport.close()

    def linger(self, bytes_max: int) -> None:
        """Drops at most so many bytes before it closes."""
        self.is_lingering = True
        self._room_bytes = bytes_max
        self._heard_s = self._loop.time()
        self._until_s = self._heard_s + self.s_max
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._look()

    def drop(self, data: bytes) -> None:
        """What came while it lingers."""
        self._heard_s = self._loop.time()
        self._room_bytes -= len(data)
        if self._room_bytes < 0:
            self.end()

    def end(self) -> None:
        """At once."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.close()

    def _look(self) -> None:
        end_s = min(self._until_s, self._heard_s + IDLE_S_MAX)
        if self._loop.time() < end_s:
            self._timer = self._loop.call_at(end_s, self._look)
        else:
            self.end()
