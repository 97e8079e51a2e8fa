"""The log's clock, as far as this machine knows it: deadlines of commands and the age of blobs go by it. So a machine whose
own clock is wrong, or is set, says so and does its work; the sweep for orphans of one that was ahead would have released
what was just being written. That one may be set, too: ages go by an `AgeClock` over it."""

import time
from collections import deque
from collections.abc import Callable

from topics.heartbeats import CLOCK_OFF_S_MAX


class LogClock:
    def __init__(self, own_ms: Callable[[], int], elapsed_s: Callable[[], float] = time.monotonic) -> None:
        """`own_ms`: this machine's clock; `elapsed_s`: one that nobody sets."""
        self.own_ms = own_ms
        self._elapsed_s = elapsed_s
        self._known: tuple[int, float] | None = None  # a time of the log, and when that was

    def __call__(self) -> int:
        """Unix milliseconds; this machine's until the log's are known."""
        if self._known is None:
            return self.own_ms()
        log_ms, at_s = self._known
        return log_ms + int((self._elapsed_s() - at_s) * 1000)

    def compare(self, own_ms: int, log_ms: int) -> float:
        """Two times of this moment, or nearly. Returns by how many seconds the own clock is ahead, 0 if it is not wrong."""
        self._known = log_ms, self._elapsed_s()
        ahead_s = (own_ms - log_ms) / 1000
        return ahead_s if abs(ahead_s) > CLOCK_OFF_S_MAX else 0.0


class AgeClock:
    """A clock by which nothing is older than it is, though it be set ahead: a leap counts `patience_s` later.

    What is stamped by the clock itself, and is looked at within that time, was stamped with the clock as far ahead as it
    was at some moment since. So the least of these is taken. A clock that is set back for less than the time between two
    looks is not noticed.
    """

    def __init__(self, clock_ms: Callable[[], int], elapsed_s: Callable[[], float], patience_s: float) -> None:
        """`elapsed_s`: a clock that nobody sets."""
        self._clock_ms = clock_ms
        self._elapsed_s = elapsed_s
        self._patience_s = patience_s
        self._ahead: deque[tuple[float, int]] = deque()  # since when it was so far ahead of that one; both rise

    def __call__(self) -> int:
        """Unix milliseconds."""
        now_s = self._elapsed_s()
        now_ms = int(now_s * 1000)
        ahead_ms = self._clock_ms() - now_ms
        while self._ahead and self._ahead[-1][1] >= ahead_ms:
            self._ahead.pop()
        self._ahead.append((now_s, ahead_ms))
        while len(self._ahead) > 1 and self._ahead[1][0] <= now_s - self._patience_s:
            self._ahead.popleft()
        return now_ms + self._ahead[0][1]
