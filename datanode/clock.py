"""The log's clock, as far as this machine knows it: deadlines of commands and the age of blobs go by it. So a machine whose
own clock is wrong, or is set, says so and does its work; the sweep for orphans of one that was ahead would have released
what was just being written."""

import time
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
