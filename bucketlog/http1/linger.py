"""How a connection ends whose client still sends: so that it gets to read the answer, and no reset before it.

A socket that is closed with bytes unread is reset, and the reset may discard the answer on the client's side. So first only
our own side is closed; what comes is read and dropped until the client closes too, within bounds (RFC 9112 §9.6).
"""

import asyncio

IDLE_S_MAX = 5.0  # without a byte
S_MAX = 30.0  # in all
BYTES_MAX = 128 << 20


class Linger:
    """The second step of an end. All that is to be answered is written before it begins."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._until_s = self._heard_s = 0.0
        self._room_bytes = 0
        self.is_begun = False
        self.s_max = S_MAX

    def begin(self, bytes_max: int = BYTES_MAX) -> None:
        """Drops at most so many bytes before it closes."""
        self.is_begun = True
        self._room_bytes = bytes_max
        self._heard_s = self._loop.time()
        self._until_s = self._heard_s + self.s_max
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        self._look()

    def drop(self, data: bytes) -> None:
        """What came meanwhile."""
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
