"""Drives one partition: claim, batch, decide over an overlay, one durable append, one atomic commit, then the replies.

Rules: one append in flight a partition; a reply leaves only when the log has what it rests on, rejections too; after an
append that failed or is unclear comes a new claim and a fresh read. Commands behind the last cause are decided again
after a start: the view is the same, so the decisions are.
Errors: `Fenced` when another owner has claimed the partition, `ViewMismatch` when the view does not belong to this log,
`ValueError` for a record that no codec knows. Each stops this partition and no other.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from msgspec import UNSET

from processors.machine import tables
from processors.machine.apply import digest, fold
from processors.machine.decide import answer, decide
from processors.view import Overlay, View
from topics import commands, events
from topics.log import Entry, Log, LogError, OffsetTrimmed, Record
from topics.replies import Reply
from topics.spec import TopicPartition

BATCH_COMMANDS_MAX = 256  # one append stays below the log's record and batch bounds
CLAIM_ATTEMPTS = 5
UNTOLD_MAX = 1_000
TOLD_AGAIN_MS = 60_000  # longer than any gateway waits
log_ = logging.getLogger(__name__)


class Fenced(Exception):
    """Another owner has claimed the partition."""


class ViewMismatch(Exception):
    """The view was folded from another log, or from records that this log has lost."""


class Replies(Protocol):
    outlives_owner: bool  # whether a gateway may still wait when another process owns the partition

    def send(self, gateway: str, reply: Reply) -> None: ...


class PartitionRuntime:
    def __init__(self, log: Log, view: View, number: int, owner: str, replies: Replies) -> None:
        self._log = log
        self.view = view
        self._commands = TopicPartition("commands", number)
        self._events = TopicPartition("events", number)
        self._owner = owner
        self._replies = replies
        self._meta = tables.meta(view)
        self._decided_below = 0  # commands below this offset are decided, rejections included
        self.is_claimed = False
        self._handling = asyncio.Lock()
        self._untold: deque[events.Decision] = deque(maxlen=UNTOLD_MAX)  # decided by another owner, not long ago

    @property
    def meta(self) -> tables.Meta:
        return self._meta

    async def claim(self) -> None:
        """Own the partition: check the view against the log, append a claim and read through it."""
        await self._check()
        await self._catch_up()
        epoch = self._meta.epoch + 1
        time_ms = self._meta.time_ms
        claimed = events.Decision(epoch, 0, -1, time_ms, self._owner, "", "", events.Claimed(self._owner))
        [offset] = await self._log.append(self._events, [Entry(b"", events.encode(claimed))], durable=True)
        # two who claim at once choose the same epoch: only the first of the two claims counts
        if not await self._catch_up(offset) or self._meta.epoch != epoch:
            raise Fenced(f"{self._events.partition}: another owner has claimed epoch {self._meta.epoch}")
        self._decided_below = self._meta.cause + 1
        self.is_claimed = True
        self._tell_again()

    async def run(self, *, claimed: bool = False) -> None:
        """Decide commands for ever; ends with an exception only. `claimed` where `claim` was called before."""
        while True:
            if not (claimed and self.is_claimed):
                await self._claim_patiently()
            start = self._decided_below
            try:
                start = max(start, await self._first_command())
                async for batch in self._log.follow(self._commands, start):
                    for position in range(0, len(batch), BATCH_COMMANDS_MAX):
                        async with self._handling:
                            await self.handle(batch[position : position + BATCH_COMMANDS_MAX])
            except LogError as error:
                self.is_claimed = False
                log_.error("partition %d: append failed, claiming anew: %s", self._commands.partition, error)

    async def handle(self, batch: Sequence[Record]) -> None:
        """Decide a batch of commands and make the decisions durable, then reply. Raises `LogError` if that failed."""
        overlay, replies, entries = Overlay(self.view), [], []
        meta = self._meta
        for record in batch:
            if record.offset < self._decided_below:
                continue
            command = commands.decode(record.value)
            decision, reply = self._decide(overlay, meta, command, record)
            replies.append((command.reply_to, reply))
            if decision is not None:
                value = events.encode(decision)
                fold(overlay, self._log.identity, meta.offset, value)
                meta = tables.meta(overlay)
                entries.append(Entry(record.key, value))
        try:
            await self._commit(overlay, meta, entries)
        except LogError as error:
            for gateway, reply in replies:
                self._replies.send(gateway, Reply(reply.request_id, "ServiceUnavailable", str(error)))
            raise
        self._decided_below = batch[-1].offset + 1
        for gateway, reply in replies:
            self._replies.send(gateway, reply)

    def _tell_again(self) -> None:
        """The replies of an owner that may not have got to it; a gateway that has its reply drops this one."""
        while self._untold:
            decision = self._untold.popleft()
            is_recent = decision.time_ms > self._meta.time_ms - TOLD_AGAIN_MS
            if is_recent and isinstance(decision.reply_to, str):
                reply = answer(decision.event, decision.request_id, decision.time_ms)
                self._replies.send(decision.reply_to, reply)

    async def idle(self) -> None:
        """Return between two batches; whoever ends `run` then leaves nothing unclear in the log."""
        async with self._handling:
            pass

    async def trim(self) -> None:
        """Let the log drop commands that will never be decided again."""
        await self._log.trim(self._commands, self._meta.cause + 1)

    def _decide(
        self, overlay: Overlay, meta: tables.Meta, command: commands.Command, record: Record
    ) -> tuple[events.Decision | None, Reply]:
        time_ms = max(meta.time_ms, record.time_ms)
        try:
            event, reply = decide(overlay, command, time_ms)
        except Exception:
            log_.exception("request %s: deciding failed; this is a bug to report", command.request_id)
            return None, Reply(command.request_id, "InternalError", "We encountered an internal error.")
        if event is None:
            return None, reply
        decision = events.Decision(
            meta.epoch,
            meta.sequence + 1,
            record.offset,
            time_ms,
            command.principal,
            command.request_id,
            f"{record.offset:016x}",
            event,
            reply_to=(command.reply_to or UNSET) if self._replies.outlives_owner else UNSET,
        )
        return decision, reply

    async def _commit(self, overlay: Overlay, meta: tables.Meta, entries: Sequence[Entry]) -> None:
        """Entries into the log, durable; then the overlay into the view, or a fresh fold where others wrote between."""
        if not entries:
            return  # rejections rest on what is committed, and that is durable
        offsets = await self._log.append(self._events, entries, durable=True)
        if offsets == list(range(self._meta.offset, self._meta.offset + len(entries))):
            self.view.commit(overlay.changes)
            self._meta = meta
            return
        if not await self._catch_up(offsets[-1]) or self._meta.epoch != meta.epoch:
            raise Fenced(f"{self._events.partition}: decisions of epoch {meta.epoch} are void")

    async def _catch_up(self, asked: int = -1) -> bool:
        """Fold what is new in the log; whether the record at the offset `asked` is among it and counts."""
        counts = False
        while records := await self._log.read(self._events, self._meta.offset):
            overlay = Overlay(self.view)
            for record in records:
                is_counted = fold(overlay, self._log.identity, record.offset, record.value)
                counts = counts or (is_counted and record.offset == asked)
                if is_counted and self._replies.outlives_owner:
                    self._untold.append(events.decode(record.value))
            self.view.commit(overlay.changes)
            self._meta = tables.meta(self.view)
        return counts

    async def _check(self) -> None:
        """That the view's last record is the log's: same log, same place, same content."""
        meta = self._meta = tables.meta(self.view)
        if not meta.offset:
            return
        advice = "stop, remove the view's folder and start again to rebuild it from the log"
        if meta.log != self._log.identity:
            raise ViewMismatch(f"the view of {self._events.partition} was folded from another log; {advice}")
        try:
            last = await self._log.read(self._events, meta.offset - 1, records_max=1)
        except OffsetTrimmed:
            return
        if not last or last[0].offset != meta.offset - 1 or digest(meta.previous, last[0].value) != meta.hash:
            raise ViewMismatch(f"the log of {self._events.partition} has lost records the view has; {advice}")

    async def _first_command(self) -> int:
        return await self._log.earliest(self._commands)

    async def _claim_patiently(self) -> None:
        for attempt in range(CLAIM_ATTEMPTS):
            try:
                return await self.claim()
            except LogError:
                if attempt == CLAIM_ATTEMPTS - 1:
                    raise
        return None
