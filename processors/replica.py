"""A view of one partition that follows the log: it folds what is there, in order, beside the owner or as the owner.

Errors: `ViewMismatch` when the view does not belong to this log, `UnknownRecord` for a record that no codec knows.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from processors.machine import tables
from processors.machine.apply import digest, fold
from processors.view import Overlay, View
from topics.events import Claimed, Decision, decode
from topics.log import Log, OffsetTrimmed, Record, decoded
from topics.spec import TopicPartition

RECENT_MAX = 1_000
log_ = logging.getLogger(__name__)
LOOKS, LOOK_AGAIN_S = 5, 1.0  # before a record counts as lost


class ViewMismatch(Exception):
    """The view was folded from another log, or from records that this log has lost."""


@dataclass
class Counts:
    """What this process did as the partition's owner, since its start."""

    claims: int = 0
    batches: int = 0
    commands: int = 0  # of these batches
    events: int = 0  # that were decided, without claims


class Replica:
    def __init__(self, log: Log, view: View, number: int) -> None:
        self._log = log
        self._at = TopicPartition("events", number)
        self.view = view
        self.number = number
        if (meta := tables.meta(view)).offset and meta.schema != tables.SCHEMA:
            log_.warning("the view of %d has rows of another release: it is made anew from the log", number)
            view.clear()
        self.meta = tables.meta(view)
        self.counts = Counts()
        self.recent: deque[Decision] = deque(maxlen=RECENT_MAX)  # decided elsewhere, for gateways that still wait
        self._is_recalled = False
        self.claimant = ""  # whose claim was the last one that counted, of those folded by this process
        self.is_current = False  # whether it has once had all that there was

    async def check(self) -> None:
        """That the view's last record is the log's: same log, same place, same content."""
        meta = self.meta
        if not meta.offset:
            return
        advice = "stop, remove the view's folder and start again to rebuild it from the log"
        if meta.log != self._log.identity:
            raise ViewMismatch(f"the view of {self.number} was folded from another log; {advice}")
        try:
            last = await self._last(meta.offset - 1)
        except OffsetTrimmed:
            return
        if not last or last[0].offset != meta.offset - 1 or digest(meta.previous, last[0].value) != meta.hash:
            raise ViewMismatch(f"the log of {self.number} has lost records the view has; {advice}")

    async def recall(self) -> None:
        """What the process that left the view may have decided and not told any more; once, before anything is folded.

        Nobody but the owner of an epoch writes in it, so all up to the view's sequence counts; earlier epochs were told
        again by who claimed this one.
        """
        if self._is_recalled:
            return
        meta, offset = self.meta, max(self.meta.offset - RECENT_MAX, await self._log.earliest(self._at))
        while offset < meta.offset and (records := await self._log.read(self._at, offset)):
            for decision in (decode(record.value) for record in records if record.offset < meta.offset):
                is_counted = decision.epoch == meta.epoch and decision.sequence <= meta.sequence
                if is_counted and isinstance(decision.reply_to, str):
                    self.recent.append(decision)
            offset = records[-1].offset + 1
        self._is_recalled = True

    async def _last(self, offset: int) -> list[Record]:
        """The record at an offset. A broker that was just elected may not show at once what was seen before."""
        for _ in range(LOOKS):
            if found := await self._log.read(self._at, offset, records_max=1):
                return found
            await asyncio.sleep(LOOK_AGAIN_S)
        return []

    async def catch_up(self) -> None:
        """Fold what is new in the log."""
        while records := await self._log.read(self._at, self.meta.offset):
            self._fold(records)
        self.is_current = True

    async def follow(self) -> None:
        """Fold for ever."""
        await self.check()
        await self.recall()
        end = await self._log.latest(self._at)
        self.is_current = self.is_current or self.meta.offset >= end
        async for records in self._log.follow(self._at, self.meta.offset):
            self._fold(records)
            self.is_current = self.is_current or self.meta.offset >= end

    def commit(self, overlay: Overlay, meta: tables.Meta) -> None:
        """What the owner decided and folded itself."""
        self.view.commit(overlay.changes)
        self.meta = meta

    def _fold(self, records: Sequence[Record]) -> None:
        """Those that nobody has folded while they were read."""
        overlay, start = Overlay(self.view), self.meta.offset
        for record in (each for each in records if each.offset >= start):
            decision = self._fold_one(overlay, record)
            if decision is not None and isinstance(decision.reply_to, str):
                self.recent.append(decision)
            if decision is not None and isinstance(decision.event, Claimed):
                self.claimant = decision.event.owner
        self.commit(overlay, tables.meta(overlay))

    def _fold_one(self, overlay: Overlay, record: Record) -> Decision | None:
        try:
            return fold(overlay, self._log.identity, record.offset, record.value)
        except ValueError:
            decoded(self._at, record, decode)  # tells the place, if that is what failed
            raise
