"""A fold of a partition's events that nobody loses: what views and subscribers are compared with while a world runs."""

import sys
from collections.abc import Sequence

from processors.machine import tables
from processors.machine.apply import EventOutOfPlace, fold
from processors.memory import MemoryView
from processors.view import Overlay, View
from tests.simulation.invariants import StreamIsComplete, ViewEqualsReplay
from topics.log import Log
from topics.spec import TopicPartition


class Oracle:
    """Of one partition. It goes on with the views; one that lost its last state is looked at when it is here again."""

    def __init__(self, number: int) -> None:
        self.counted: list[bytes] = []
        self._view = MemoryView()
        self._offset = 0
        self._at = TopicPartition("events", number)
        self._compared = 0  # of what a subscriber saw

    async def check_view(self, log: Log, view: View, whose: str = "") -> None:
        """`view` is one in memory: it is looked at in one moment, and may go on meanwhile."""
        assert isinstance(view, MemoryView)
        rows, offset = dict(view.rows), tables.meta(view).offset
        if offset < self._offset:
            return
        await self._reach(log, offset)
        if self._view.rows != rows:
            raise ViewEqualsReplay(f"partition {self._at.partition} {whose} at {offset}")

    def check_seen(self, seen: Sequence[bytes]) -> None:
        """What a subscriber saw so far; it may be ahead, or late."""
        both = min(len(seen), len(self.counted))
        if list(seen[self._compared : both]) != self.counted[self._compared : both]:
            raise StreamIsComplete(f"a subscriber of {self._at.partition} saw something else")
        self._compared = both

    async def whole(self, log: Log) -> "Oracle":
        """A fresh one, of all that there is."""
        fresh = Oracle(self._at.partition)
        await fresh._reach(log, await log.latest(self._at))
        return fresh

    async def _reach(self, log: Log, below: int) -> None:
        while self._offset < below:
            records = await log.read(self._at, self._offset, records_max=sys.maxsize)
            overlay = Overlay(self._view)
            for record in records:
                if record.offset >= below:
                    break
                try:
                    is_counted = fold(overlay, log.identity, record.offset, record.value)
                except EventOutOfPlace as error:
                    raise ViewEqualsReplay(f"the events of {self._at.partition} cannot be folded: {error}") from error
                if is_counted:
                    self.counted.append(record.value)
                self._offset = record.offset + 1
            self._view.commit(overlay.changes)
            if not records or records[-1].offset + 1 >= below:
                self._offset = max(self._offset, below)
