"""Drives one partition: claim, batch, decide over an overlay, one durable append, one atomic commit, then the replies.

Rules: one append in flight a partition; a reply leaves only when the log has what it rests on, rejections too; after an
append that failed or is unclear comes a new claim and a fresh read. Commands after the last cause are decided again
after a start: the view is the same and so are the rules, so the decisions are.
Where the rules differ, they may not be. So a claim names the release whose rules it decides by. If another release's owner
may have refused commands that no event tells of, the new one waits until that owner can answer nothing more, appends that
all commands up to the end are decided, and answers those without an event as unknown: none of them is ever carried out.
So that this holds, a refusal is answered only under a lease (`may_refuse`). Without one it is turned away, or left to the
next owner where there is one already (`is_succeeded`).
Once a second, and at its end, an owner appends `CommandsDecided` where commands were decided without an event: they may be
trimmed then, and no later owner decides them again.
Commands that are gone before they were decided here were decided by a later owner, or deleted by an operator: which, the
events tell. A command that the log has twice is decided once (`processors.dedup`).
Nor are commands read that came where others were which the log has lost.
Errors: `Fenced` when another owner has claimed the partition, `UnknownRecord`, and those of `Replica`. Each stops this
partition and no other.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from processors.batch import Batch
from processors.dedup import CommandDedup
from processors.machine import tables
from processors.machine.decide import answer
from processors.release import own_release
from processors.replica import Replica
from processors.view import View
from topics import commands, events
from topics.log import Entry, Log, LogError, OffsetTrimmed, Record, decoded
from topics.replies import Reply
from topics.spec import TopicPartition

BATCH_COMMANDS_MAX = 256  # one append stays below the log's record and batch bounds
BATCH_S = 0.01  # of deciding in one turn of the event loop
CLAIM_ATTEMPTS, CLAIM_AGAIN_S = 8, 0.1  # the pause doubles: 13 s in all, for a disk that is full for a moment
FILLERS_MAX = 1_000  # in one append
TOLD_AGAIN_MS = 60_000  # longer than any gateway waits
TRIM_EVERY_MS = 1_000
TELL_EVERY_S = 1.0  # that commands were decided without an event
log_ = logging.getLogger(__name__)


class Fenced(Exception):
    """Another owner has claimed the partition."""


class Replies(Protocol):
    outlives_owner: bool  # whether a gateway may still wait when another process owns the partition

    def send(self, gateway: str, reply: Reply) -> None: ...


class PartitionRuntime:
    def __init__(
        self,
        log: Log,
        replica: Replica,
        owner: str,
        replies: Replies,
        may_refuse: Callable[[], bool] = lambda: True,
        release: str = "",
        is_succeeded: Callable[[], bool] = lambda: False,
    ) -> None:
        """`may_refuse`: whether a refusal that was decided just now may be answered; always where there is one process.
        `is_succeeded`: whether a later owner is known to have claimed the partition.

        `release`: whose rules it decides by, if not by those of this process's own.
        """
        self._log = log
        self._replica = replica
        self._commands = TopicPartition("commands", replica.number)
        self._events = TopicPartition("events", replica.number)
        self._owner = owner
        self._replies = replies
        self._may_refuse = may_refuse
        self._is_succeeded = is_succeeded
        self._release = release or own_release()
        self._decided_below = 0
        self._trimmed_at = -1  # how far it had decided when it trimmed last
        self._dedup: CommandDedup | None = None  # where the log repeats nothing
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
        self._dedup = CommandDedup() if self._log.repeats else None
        await self._replica.catch_up()
        epoch = self.meta.epoch + 1
        time_ms = self.meta.time_ms
        claim = events.Claimed(self._owner, self._release)
        claimed = events.Decision(epoch, 0, -1, time_ms, self._owner, "", "", claim)
        await self._log.append(self._events, [Entry(b"", events.encode(claimed))], durable=True)
        await self._replica.catch_up()
        # two who claim at once choose the same epoch: only the first of the two claims counts
        if self.meta.epoch != epoch or self._replica.claimant != self._owner:
            raise Fenced(f"{self._events.partition}: another owner has claimed epoch {self.meta.epoch}")
        self._decided_below = self.meta.cause + 1
        await self._fill_up()
        self.is_claimed = True
        self.epoch = epoch
        self._replica.counts.claims += 1

    async def _fill_up(self) -> int:
        """The end of the commands. Where the log has lost some that were decided, their offsets would come again, and pass
        for decided: so these are taken by commands that are too late, which whoever reads them refuses.
        """
        while (lost := self._decided_below - (end := await self._log.latest(self._commands))) > 0:
            where = f"{self._commands.topic}:{self._commands.partition}"
            log_.critical("%s lost %d records that were decided; see that brokers keep what they acknowledge", where, lost)
            late = commands.Command(self._owner, "", "", 0, commands.DiscardParts(self._commands.partition))
            fillers = [Entry(b"", commands.encode(late))] * min(lost, FILLERS_MAX)
            await self._log.append(self._commands, fillers, durable=True)
        return end

    async def run(self) -> None:
        """Decide commands as they come, after a claim; ends with an exception only.

        Not before earlier owners can answer nothing: their reads may not show yet what is told here.
        """
        self.tell_again()
        await self._settle_other_releases()
        working = [asyncio.create_task(self._decide_all()), asyncio.create_task(self._tell_decided())]
        try:
            done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in working:
                each.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def _decide_all(self) -> None:
        start = await self._start()
        while True:
            try:
                await self._decide_from(start)
            except OffsetTrimmed:
                before, start = start, await self._start()
                if start == before or await self._log.latest(self._commands) < self._decided_below:
                    raise  # the log has lost its end, which a claim makes up for

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

    async def handle(self, records: Sequence[Record]) -> None:
        """Decide commands and make the decisions durable, then reply. Raises `LogError` if an append failed."""
        while (taken := await self._handle_some(records)) < len(records):
            records = records[taken:]
            await asyncio.sleep(0)

    async def _handle_some(self, records: Sequence[Record]) -> int:
        """How many: not all where their work takes too long for one turn of the event loop."""
        batch = Batch(self.view, self._log.identity, self._commands, self.meta, names_gateways=self._replies.outlives_owner)
        now_s = asyncio.get_running_loop().time
        until_s, taken = now_s() + BATCH_S, len(records)
        for index, (record, command) in self._undecided(records):
            batch.decide(record, command)
            if now_s() > until_s:
                taken = index + 1
                break
        try:
            await self._commit(batch)
        except LogError as error:
            for answered in batch.answers:
                self._turn_away(answered.gateway, answered.reply.request_id, str(error))
            raise
        self._decided_below = max(self._decided_below, records[taken - 1].offset + 1)
        counts = self._replica.counts
        counts.batches += bool(batch.answers)
        counts.commands += len(batch.answers)
        counts.events += len(batch.entries)
        for gateway, reply, is_in_log in batch.answers:
            if is_in_log or self._may_refuse():
                self._replies.send(gateway, reply)
            elif batch.entries or not self._is_succeeded():  # else the next owner decides it: no event is after it
                self._turn_away(gateway, reply.request_id, "the lease on the partition has lapsed")
        return taken

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
        with contextlib.suppress(LogError, Fenced):  # what is not told is decided again by whoever claims next
            await self._append_decided(self._decided_below)

    async def trim(self) -> None:
        """Let the log drop commands that nobody needs any more; to be called once a second."""
        below = self.meta.cause + 1
        is_idle, self._trimmed_at = self._decided_below == self._trimmed_at, self._decided_below
        if self._dedup is not None and is_idle and await self._fill_up() <= self._decided_below:
            self._dedup.rest(TRIM_EVERY_MS)
        await self._log.trim(self._commands, below if self._dedup is None else self._dedup.needed_from(below))

    def _undecided(self, records: Sequence[Record]) -> Iterator[tuple[int, tuple[Record, commands.Command]]]:
        """Those that were not decided before, here or at an earlier place in the log; with their index."""
        for index, record in enumerate(records):
            if record.offset >= self._decided_below:
                command = decoded(self._commands, record, commands.decode)
                if self._dedup is None or not self._dedup.is_repeated(command.request_id, record):
                    yield index, (record, command)
            elif self._dedup is not None:
                self._dedup.recall(record)

    async def _settle_other_releases(self) -> None:
        """What an owner of another release may have refused is not carried out by the rules of this one."""
        if len(self.meta.releases) < 2:
            return
        start, end = self.meta.cause + 1, await self._log.latest(self._commands)
        async with self._handling:
            await self._append(events.CommandsDecided(max(start, end)), cause=max(start, end) - 1)
        self._decided_below = self.meta.cause + 1
        start = max(start, await self._log.earliest(self._commands))
        while start < end and (records := await self._log.read(self._commands, start)):
            for record in records:
                if record.offset < end:
                    with contextlib.suppress(ValueError):  # the other release's
                        command = commands.decode(record.value)
                        self._turn_away(command.reply_to, command.request_id, "another release was asked")
            start = records[-1].offset + 1

    async def _tell_decided(self) -> None:
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            if self._decided_below > self.meta.cause + 1:
                async with self._handling:
                    await self._append_decided(self._decided_below)

    async def _append_decided(self, below: int) -> None:
        if self.is_claimed and below > self.meta.cause + 1:
            await self._append(events.CommandsDecided(below), cause=below - 1)

    async def _append(self, event: events.Event, cause: int) -> None:
        """What no command asked for. Under `_handling`: one append is in flight at a time."""
        meta = self.meta
        decision = events.Decision(meta.epoch, meta.sequence + 1, cause, meta.time_ms, "", "", f"{cause:016x}", event)
        batch = Batch(self.view, self._log.identity, self._commands, meta, names_gateways=False)
        batch.add(Entry(b"", events.encode(decision)))
        await self._commit(batch)

    def _turn_away(self, gateway: str, request: str, why: str) -> None:
        """The outcome is unknown."""
        self._replies.send(gateway, Reply(request, "ServiceUnavailable", why))

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
        return self._decided_below if self._dedup is None else earliest

    async def _decide_from(self, offset: int) -> None:
        async for batch in self._log.follow(self._commands, offset):
            for start in range(0, len(batch), BATCH_COMMANDS_MAX):
                async with self._handling:
                    await self.handle(batch[start : start + BATCH_COMMANDS_MAX])

    async def _commit(self, batch: Batch) -> None:
        """Its entries into the log, durable; then its overlay into the view, or a fresh fold where the log has more.

        The log may have them twice and acknowledge the second copy, or void ones of others between: what was folded tells.
        """
        if not batch.entries:  # rejections rest on what is committed, and that is durable
            return
        if batch.meta.epoch != self.epoch:  # another claim was folded meanwhile: these would be decisions in its name
            raise Fenced(f"{self._events.partition}: another owner has claimed epoch {batch.meta.epoch}")
        before = self.meta
        offsets = await self._log.append(self._events, batch.entries, durable=True)
        is_next = offsets == list(range(before.offset, before.offset + len(offsets)))
        if is_next and self.meta is before:  # else somebody has folded meanwhile what another owner wrote
            self._replica.commit(batch.overlay, batch.meta)
            return
        await self._replica.catch_up()
        if self.meta.epoch != batch.meta.epoch:
            raise Fenced(f"{self._events.partition}: decisions of epoch {batch.meta.epoch} are void")
        if self.meta.sequence != batch.meta.sequence:
            raise LogError(f"events:{self._events.partition} does not show what it acknowledged; check the brokers")

    async def _claim_patiently(self) -> None:
        for attempt in range(CLAIM_ATTEMPTS):
            try:
                return await self.claim()
            except LogError:
                if attempt == CLAIM_ATTEMPTS - 1:
                    raise
                await asyncio.sleep(CLAIM_AGAIN_S * 2**attempt)
        return None
