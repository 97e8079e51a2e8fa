"""Drives one partition: claim, batch, decide over an overlay, one durable append, one atomic commit, then the replies.

Rules: one append in flight a partition; a reply leaves only when the log has what it rests on, rejections too; after an
append that failed or is unclear comes a new claim and a fresh read. Commands behind the last cause are decided again
after a start: the view is the same, so the decisions are.
Two owners decide a command alike, as both have decided all before it in the log; so a rejection, of which the log gets to
know nothing, needs no fence. (Reads do: they do not come in the order of the log. See `processors.leases`.) Commands that
are gone before they were decided here were decided by a later owner, or deleted by an operator: which, the events tell.
A command that the log has twice is decided once (`processors.asked`).
Errors: `Fenced` when another owner has claimed the partition, `UnknownRecord`, and those of `Replica`. Each stops this
partition and no other.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import UNSET

from processors.asked import Asked
from processors.machine import tables
from processors.machine.apply import fold
from processors.machine.decide import answer, decide
from processors.replica import Replica
from processors.view import Overlay, View
from topics import commands, events
from topics.log import VALUE_BYTES_MAX, Entry, Log, LogError, OffsetTrimmed, Record, decoded
from topics.replies import Reply
from topics.spec import TopicPartition

BATCH_COMMANDS_MAX = 256  # one append stays below the log's record and batch bounds
CLAIM_ATTEMPTS = 5
TOLD_AGAIN_MS = 60_000  # longer than any gateway waits
log_ = logging.getLogger(__name__)


class Fenced(Exception):
    """Another owner has claimed the partition."""


class Replies(Protocol):
    outlives_owner: bool  # whether a gateway may still wait when another process owns the partition

    def send(self, gateway: str, reply: Reply) -> None: ...


class PartitionRuntime:
    def __init__(self, log: Log, replica: Replica, owner: str, replies: Replies) -> None:
        self._log = log
        self._replica = replica
        self._commands = TopicPartition("commands", replica.number)
        self._events = TopicPartition("events", replica.number)
        self._owner = owner
        self._replies = replies
        self._decided_below = 0
        self._asked: Asked | None = None  # where the log repeats nothing
        self.is_claimed = False
        self.epoch = 0  # of its own last claim; `meta` knows the claims of others too
        self._handling = asyncio.Lock()

    @property
    def meta(self) -> tables.Meta:
        return self._replica.meta

    @property
    def view(self) -> View:
        return self._replica.view

    @property
    def decided_below(self) -> int:
        """The offset in `commands` below which all is decided, rejections included."""
        return self._decided_below

    async def claim(self) -> None:
        """Own the partition: check the view against the log, append a claim and read through it."""
        await self._replica.check()
        if self._replies.outlives_owner:
            await self._replica.recall()
        self._asked = Asked() if self._log.repeats else None
        await self._replica.catch_up()
        epoch = self.meta.epoch + 1
        time_ms = self.meta.time_ms
        claimed = events.Decision(epoch, 0, -1, time_ms, self._owner, "", "", events.Claimed(self._owner))
        [offset] = await self._log.append(self._events, [Entry(b"", events.encode(claimed))], durable=True)
        # two who claim at once choose the same epoch: only the first of the two claims counts
        if not await self._replica.catch_up(offset) or self.meta.epoch != epoch:
            raise Fenced(f"{self._events.partition}: another owner has claimed epoch {self.meta.epoch}")
        self._decided_below = self.meta.cause + 1
        self.is_claimed = True
        self.epoch = epoch
        self._replica.counts.claims += 1

    async def run(self) -> None:
        """Decide commands as they come, behind a claim; ends with an exception only.

        Not before earlier owners can answer no reads: theirs may not show yet what is told here.
        """
        self.tell_again()
        start = await self._start()
        while True:
            try:
                await self._decide_from(start)
            except OffsetTrimmed:
                before, start = start, await self._start()
                if start == before:  # nothing was trimmed: the log has lost its end
                    raise

    async def run_alone(self) -> None:
        """`run`, and a new claim whenever the log failed, where no other process may own the partition."""
        while True:
            if not self.is_claimed:
                await self._claim_patiently()
            try:
                await self.run()
            except LogError as error:
                self.is_claimed = False
                log_.error("partition %d: append failed, claiming anew: %s", self._commands.partition, error)

    async def handle(self, batch: Sequence[Record]) -> None:
        """Decide a batch of commands and make the decisions durable, then reply. Raises `LogError` if that failed."""
        overlay, replies, entries = Overlay(self.view), [], []
        meta = self.meta
        for record, command in self._undecided(batch):
            value, reply = self._decide(overlay, meta, command, record)
            replies.append((command.reply_to, reply))
            if value:
                fold(overlay, self._log.identity, meta.offset, value)
                meta = tables.meta(overlay)
                entries.append(Entry(record.key, value))
        try:
            await self._commit(overlay, meta, entries)
        except LogError as error:
            for gateway, reply in replies:
                self._replies.send(gateway, Reply(reply.request_id, "ServiceUnavailable", str(error)))
            raise
        self._decided_below = max(self._decided_below, batch[-1].offset + 1)
        counts = self._replica.counts
        counts.batches += bool(replies)
        counts.commands += len(replies)
        counts.events += len(entries)
        for gateway, reply in replies:
            self._replies.send(gateway, reply)

    def tell_again(self) -> None:
        """The replies of an owner that may not have got to it; a gateway that has its reply drops this one."""
        while self._replica.recent:
            decision = self._replica.recent.popleft()
            if decision.time_ms > self.meta.time_ms - TOLD_AGAIN_MS and isinstance(decision.reply_to, str):
                reply = answer(decision.event, decision.request_id, decision.time_ms)
                self._replies.send(decision.reply_to, reply)

    async def finish(self) -> None:
        """Return between two batches and begin no other; whoever ends `run` then leaves nothing unclear in the log."""
        await self._handling.acquire()

    async def trim(self) -> None:
        """Let the log drop commands that nobody needs any more."""
        below = self.meta.cause + 1
        await self._log.trim(self._commands, below if self._asked is None else self._asked.needed_from(below))

    def _undecided(self, batch: Sequence[Record]) -> Iterator[tuple[Record, commands.Command]]:
        """Those of a batch that were not decided before, here or at an earlier place."""
        for record in batch:
            if record.offset >= self._decided_below:
                command = decoded(self._commands, record, commands.decode)
                if self._asked is None or not self._asked.is_repeated(command.request_id, record):
                    yield record, command
            elif self._asked is not None:
                self._asked.recall(record)

    def _decide(
        self, overlay: Overlay, meta: tables.Meta, command: commands.Command, record: Record
    ) -> tuple[bytes, Reply]:
        """The record of the decision, if there is any, and the reply."""
        time_ms = max(meta.time_ms, record.time_ms)
        try:
            event, reply = decide(overlay, command, record.time_ms, time_ms)
        except Exception:
            log_.exception("request %s: deciding failed; this is a bug to report", command.request_id)
            return b"", _internal_error(command)
        if event is None:
            return b"", reply
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
        value = events.encode(decision)
        if len(record.key) + len(value) > VALUE_BYTES_MAX:  # its append would fail again and again
            where = f"offset {record.offset} of commands:{self._commands.partition}"
            log_.error("%s is left out: its event would be too large; bucketlog did not write that", where)
            return b"", _internal_error(command)
        return value, reply

    async def _start(self) -> int:
        """Where undecided commands begin; or, where some may come twice, all that are kept.

        Those that were trimmed below it and not decided here may have been decided by another owner: a rejection that
        does not know of them would be wrong. Trimmed is what has a decision in the log, so the other's claim is there.
        """
        earliest = await self._log.earliest(self._commands)
        if earliest > self._decided_below:
            await self._replica.catch_up()
            if self.meta.epoch != self.epoch:
                raise Fenced(f"{self._events.partition}: another owner has decided commands up to {earliest}")
            self._decided_below = earliest
        return self._decided_below if self._asked is None else earliest

    async def _decide_from(self, offset: int) -> None:
        async for batch in self._log.follow(self._commands, offset):
            for position in range(0, len(batch), BATCH_COMMANDS_MAX):
                async with self._handling:
                    await self.handle(batch[position : position + BATCH_COMMANDS_MAX])

    async def _commit(self, overlay: Overlay, meta: tables.Meta, entries: Sequence[Entry]) -> None:
        """Entries into the log, durable; then the overlay into the view, or a fresh fold where others wrote between."""
        if not entries:  # rejections rest on what is committed, and that is durable
            return
        offsets = await self._log.append(self._events, entries, durable=True)
        if offsets == list(range(self.meta.offset, self.meta.offset + len(entries))):
            self._replica.commit(overlay, meta)
            return
        if not await self._replica.catch_up(offsets[-1]) or self.meta.epoch != meta.epoch:
            raise Fenced(f"{self._events.partition}: decisions of epoch {meta.epoch} are void")

    async def _claim_patiently(self) -> None:
        for attempt in range(CLAIM_ATTEMPTS):
            try:
                return await self.claim()
            except LogError:
                if attempt == CLAIM_ATTEMPTS - 1:
                    raise
        return None


def _internal_error(command: commands.Command) -> Reply:
    return Reply(command.request_id, "InternalError", "We encountered an internal error.")
