"""Which commands were there before: a log may have an append twice (`Log.repeats`), and a command is carried out once.

A repeated deletion would take what was written between the two; a repeated PUT would bring back what another has replaced
since, and give up the payload that its own object refers to. A rejected command counts as well, though no event tells of
it: so what was asked before is read from `commands` itself, which is kept for long enough.
"""

import contextlib
from collections import deque
from typing import NamedTuple

from topics.commands import decode
from topics.log import Record

WINDOW_MS = 60_000  # by the log's times: longer than a client sends an append again
ASKED_MAX = 100_000  # where a clock that was ahead keeps the window open


class _Place(NamedTuple):
    time_ms: int
    offset: int
    request: str


class Asked:
    def __init__(self) -> None:
        self._known: set[str] = set()
        self._order: deque[_Place] = deque()

    def is_repeated(self, request: str, record: Record) -> bool:
        """Whether the command of a record was there before; to be asked once of each, in the order of the log."""
        if request in self._known:
            return True
        self._known.add(request)
        self._order.append(_Place(record.time_ms, record.offset, request))
        while self._order[0].time_ms < record.time_ms - WINDOW_MS or len(self._order) > ASKED_MAX:
            self._known.remove(self._order.popleft().request)
        return False

    def recall(self, record: Record) -> None:
        """One that was decided before; another release's is unknown if it comes again, too."""
        with contextlib.suppress(ValueError):
            self.is_repeated(decode(record.value).request_id, record)

    def needed_from(self, decided_below: int) -> int:
        """The offset below which nobody needs commands, be it to decide them or to know them again."""
        return min(decided_below, self._order[0].offset) if self._order else 0
