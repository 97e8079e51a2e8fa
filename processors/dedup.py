"""The log may hold an append twice (`Log.repeats`); each request runs once.

A repeated deletion would take what was written between the two; a repeated PUT would bring back what another has replaced
since, and give up the payload that its own object refers to. A rejected command counts as well, though no event tells of
it: so what was asked before is read from `commands` itself, which is kept for long enough.

Time is counted from one record to the next, as the log's clock may be set: a step back is none, and a leap or a pause is
no more than `GAP_MS`. So a leap forgets nothing, and a step back keeps no request for ever.
"""

import contextlib

from topics.commands import decode
from topics.log import Record

WINDOW_MS = 60_000  # a request is known for that long, and at most twice: longer than a client sends an append again
GAP_MS = 1_000
REQUESTS_MAX = 50_000  # of one window, which is shorter where more come: 830 a second in one partition


class _Window:
    def __init__(self, first: int) -> None:
        self.first = first  # the offset of its first command
        self.requests: set[int] = set()  # 64 bits of each: of the whole ids as text 100,000 took 27 MB, of these 8
        self.counted_ms = 0


class CommandDedup:
    def __init__(self) -> None:
        self._windows: list[_Window] = []  # the one before, and the one that is filled
        self._last_ms = 0
        self._idle_ms = 0  # for which there was no command that was not read
        self._is_idle = False

    def is_repeated(self, request: str, record: Record) -> bool:
        """Whether the command of a record was there before; to be asked once of each, in the order of the log."""
        self._idle_ms, self._is_idle = 0, False
        known = hash(request)
        if any(known in window.requests for window in self._windows):
            return True
        self._window(record).requests.add(known)
        return False

    def recall(self, record: Record) -> None:
        """One that was decided before; another release's is unknown if it comes again, too."""
        with contextlib.suppress(ValueError):
            self.is_repeated(decode(record.value).request_id, record)

    def needed_from(self, decided_below: int) -> int:
        """The offset below which nobody needs commands, be it to decide them or to know them again."""
        if self._windows:
            return min(decided_below, self._windows[0].first)
        return decided_below if self._is_idle else 0

    def rest(self, idle_ms: int) -> None:
        """So long no command came, and all that had come was read: in the end none is known, and none is needed."""
        self._idle_ms += idle_ms
        if self._idle_ms > WINDOW_MS and self._windows:
            self._windows, self._is_idle = [], True

    def _window(self, record: Record) -> _Window:
        """The one in which a record falls."""
        passed_ms = min(max(0, record.time_ms - self._last_ms), GAP_MS)
        self._last_ms = record.time_ms
        if self._windows:
            filled = self._windows[-1]
            filled.counted_ms += passed_ms
            if filled.counted_ms <= WINDOW_MS and len(filled.requests) < REQUESTS_MAX:
                return filled
        self._windows = [*self._windows[-1:], _Window(record.offset)]
        return self._windows[-1]
