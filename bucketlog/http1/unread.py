"""How a connection ends whose client does not read: what was written for it is memory, and a GET waits until it is taken.

While anything waits to be sent, the client must take some of it in each period, or the connection is aborted. Slow readers
are none of these: the bound is half a kilobyte a second. What they take comes from the socket's buffer first, and the
transport's stands still until a third of that is free.
"""

import asyncio
import fcntl
import sys
import termios
from typing import Any

PERIOD_S = 30.0
BYTES_MIN = 16 << 10  # taken in a period; or all


class UnreadWatch:
    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._waiting_bytes = 0

    def begin(self) -> None:
        """Something may wait to be sent."""
        if self._timer is None and (waiting := self._transport.get_write_buffer_size()):
            self._waiting_bytes = waiting + self._in_socket()
            self._timer = self._loop.call_later(PERIOD_S, self._look)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        waiting = self._transport.get_write_buffer_size()
        if waiting and waiting + self._in_socket() > max(0, self._waiting_bytes - BYTES_MIN):
            self._transport.abort()
        else:
            self.begin()

    def _in_socket(self) -> int:
        """Bytes that the client's machine has not acknowledged (tcp(7), SIOCOUTQ)."""
        try:
            raw = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):  # closed, or none that tells: then it does not seem to move
            return 0
        return int.from_bytes(raw, sys.byteorder)
