"""Leases on partitions: who may answer reads. One log, the topic `owners`, orders all that owners say.

An owner says each second what it holds. What it said is good for `LEASE_S` from before it was sent, but only if nobody with
a higher epoch had spoken before it in the topic. A new owner speaks once, which makes void whatever an earlier one says
later, and then waits until what they said before has lapsed or was given back: `LEASE_S` from when it was seen here, so
that a new owner which has been following need not wait for one that fell silent long ago. Once it has waited it says so,
and nobody need wait for those before it again. What an owner said earlier and comes later is nothing to anybody: "I hold
nothing" from before a claim is no leave to take over.
A lease that no codec knows may be a newer release's, and may speak for any partition with any epoch. Whoever reads it
takes it for both that matter: for the word of a later owner, so that nothing is held by a claim that was made before it was
read (one made after that comes after whatever it spoke for); and for the word of an earlier one, which is waited for. So
skipping it is safe; it costs each owner a claim and `LEASE_S`. So is a word that is gone before it was read.
A partition for which nobody spoke for `LEASE_S` is answered by nobody, and another stands in for its owner; sooner where
that one let go of it. Silence counts only while what is said here comes through: a topic that stood still is none.
Clocks: only differences of one machine's own clock are used, one that goes on while the machine sleeps.
"""

import asyncio
import contextlib
import hashlib
import logging
import sys
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from topics import owners
from topics.following import Start, followed
from topics.log import Entry, Log, LogError, OffsetTrimmed, UnknownRecord, decoded
from topics.owners import LEASE_S, RENEW_S, Lease
from topics.spec import EVENTS, TopicPartition

AT = TopicPartition("owners", 0)
LET_GO_S = 2.0
SILENT_S = 2 * RENEW_S  # at most one word was lost, or late
log_ = logging.getLogger(__name__)


class Holder(NamedTuple):
    """The latest word on a partition."""

    owner: str
    endpoint: str
    epoch: int
    has_let_go: bool


class OwnerMap:
    """Who owns what, as the topic has it so far."""

    def __init__(self) -> None:
        self.holders: dict[int, Holder] = {}
        self._numbers: dict[str, int] = {}

    def is_late(self, lease: Lease) -> bool:
        """Whether its owner's later word is known already."""
        return lease.number < self._numbers.get(lease.owner, 0)

    def fold(self, lease: Lease) -> set[int]:
        """The partitions that this lease speaks for; the others in it are held by a higher epoch. None for a late one."""
        counted = set[int]()
        if self.is_late(lease):
            return counted
        self._numbers[lease.owner] = lease.number
        for partition, epoch in lease.epochs.items():
            known = self.holders.get(partition)
            if known is None or epoch >= known.epoch:
                self.holders[partition] = Holder(lease.owner, lease.endpoint, epoch, has_let_go=False)
                counted.add(partition)
        for partition, held in self.holders.items():
            if held.owner == lease.owner and partition not in lease.epochs:
                self.holders[partition] = held._replace(has_let_go=True)
        return counted

    def endpoint(self, partition: int) -> str | None:
        held = self.holders.get(partition)
        return None if held is None or held.has_let_go else held.endpoint


class Leases:
    """What this process holds."""

    def __init__(self, log: Log, owner: str, endpoint: str, clock_s: Callable[[], float]) -> None:
        self._log = log
        self._owner = owner
        self._endpoint = endpoint
        self._clock_s = clock_s
        self.map = OwnerMap()
        self._epochs: dict[int, int] = {}  # what is said
        self._taken: set[int] = set()  # of these, where nobody else can answer
        self._until: dict[int, float] = {}
        self._lapses: dict[int, dict[str, float]] = {}  # partition → owner → when what it said has lapsed
        self._unknown_lapses = 0.0  # when what nobody here can read has lapsed
        self._overtaken: set[int] = set()  # may have been, by what nobody here can read
        self._others: dict[str, float] = {}  # owner → when it was heard
        self._silent_s: dict[int, float] = {}  # partition → for how long nobody spoke for it, while this one was heard
        self._own_heard_s = clock_s()
        self._counted: dict[int, set[int]] = {}  # offset of what was said here → the partitions that it counted for
        self._said_s = clock_s() - LEASE_S  # when what was said last, and is in the log, was said
        self._number = 0  # of what was said last
        self._reached = 0  # below this offset everything is known
        self._moved = asyncio.Condition()

    def is_held(self, partition: int) -> bool:
        """Whether a read that ended just now may be answered."""
        return self._clock_s() < self._until.get(partition, 0.0)

    def before_claim(self, partition: int) -> None:
        """Whatever is known by now was said by earlier owners than the one that claims the partition next."""
        self._overtaken.discard(partition)

    async def take(self, partition: int, epoch: int) -> bool:
        """Hold a partition that was claimed with `epoch`; returns when no other owner can answer for it any more.

        Or False, if another has claimed it meanwhile.
        """
        self._epochs[partition] = epoch
        await self._say()
        while (wait := self._lapsed(partition) - self._clock_s()) > 0:
            if self._is_displaced(partition):
                return False
            await self._more_is_known(wait)
        self._taken.add(partition)
        await self._say()
        return True

    def _lapsed(self, partition: int) -> float:
        """When all that others said of it is good for nothing any more."""
        return max(*self._lapses.get(partition, {}).values(), self._unknown_lapses, 0.0)

    async def _more_is_known(self, within_s: float) -> None:
        """Returns when something was said, or when the time is over."""
        waiting = [asyncio.create_task(each) for each in (asyncio.sleep(within_s), self._settled(self._reached + 1))]
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    def is_succeeded(self, partition: int, epoch: int) -> bool:
        """Whether an owner has spoken for it that claimed it after the one of that epoch."""
        latest = self.map.holders.get(partition)
        return latest is not None and latest.epoch > epoch

    async def displaced(self, partition: int) -> None:
        """Returns when another owner of a partition that is taken here has spoken with a higher epoch."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._is_displaced(partition))

    def _is_displaced(self, partition: int) -> bool:
        return partition in self._overtaken or self.is_succeeded(partition, self._epochs[partition])

    async def let_go(self, partitions: set[int]) -> None:
        for partition in partitions:
            self._epochs.pop(partition, None)
            self._until.pop(partition, None)
        self._taken -= partitions
        with contextlib.suppress(LogError, TimeoutError):  # then what was said runs out by itself
            async with asyncio.timeout(LET_GO_S):
                await self._say()

    async def leave(self) -> None:
        """Let go of all, for good."""
        self._endpoint = ""
        await self.let_go(set(self._epochs))

    @property
    def is_heard(self) -> bool:
        """Whether what is said here gets into the log, and back."""
        return self._clock_s() - self._said_s < LEASE_S

    @property
    def is_alone(self) -> bool:
        """Whether no other owner was heard lately that could take over."""
        return self._clock_s() - max(self._others.values(), default=0.0) > LEASE_S

    async def orphaned(self) -> set[int]:
        """Returns when there are partitions that nobody speaks for any more, and for which this one is to stand in."""
        async with self._moved:
            return await self._moved.wait_for(
                lambda: {number for number, held in self.map.holders.items() if self._is_to_stand_in(number, held)}
            )

    def _is_to_stand_in(self, partition: int, held: Holder) -> bool:
        now_s, silent_s = self._clock_s(), self._silent_s.get(partition, 0.0)
        if silent_s < (SILENT_S if held.has_let_go else LEASE_S):
            return False
        if now_s < self._unknown_lapses:  # what nobody here can read may be of its next owner
            return False
        there = [owner for owner, heard_s in self._others.items() if now_s - heard_s < SILENT_S]
        return max([*there, self._owner], key=lambda owner: _weight(partition, owner)) == self._owner

    async def run(self) -> None:
        """Renew and follow for ever. Raises `LogError` where the topic cannot be followed for longer than a moment."""
        following, renewing = asyncio.create_task(self._follow()), asyncio.create_task(self._renew())
        try:
            done, _ = await asyncio.wait({following, renewing}, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in (following, renewing):
                each.cancel()
            await self._move(sys.maxsize)  # nothing more will be known: nobody is to wait for it

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            with contextlib.suppress(LogError):  # the next one may get through; until then the lease runs out
                await self._say()

    async def _say(self) -> None:
        """Tell what is held, and wait until it is known what it is good for."""
        sent = self._clock_s()
        self._number += 1
        held = self._taken & self._epochs.keys()
        lease = Lease(self._owner, self._endpoint, dict(self._epochs), held, number=self._number)
        (offset,) = await self._log.append(AT, [Entry(b"", owners.encode(lease))], durable=True)
        await self._settled(offset + 1)
        self._said_s = sent
        for partition in self._counted.pop(offset, set()) & self._taken:
            if self.map.holders[partition].owner == self._owner:
                self._until[partition] = max(self._until.get(partition, 0.0), sent + LEASE_S)

    async def _settled(self, below: int) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self._reached >= below)

    async def _follow(self) -> None:
        while True:
            try:
                async for offset, lease in leases(self._log, self._log.earliest):
                    self._take(offset, lease)
                    await self._move(offset + 1)
            except OffsetTrimmed as error:
                log_.error("what owners said is gone before it was read, every partition is claimed again: %s", error)
                self._note_unknown()
                await self._move(self._reached)

    def _take(self, offset: int, lease: Lease | None) -> None:
        if lease is None:
            self._note_unknown()
        elif lease.owner == self._owner:
            counted = self.map.fold(lease)
            self._counted[offset] = counted - self._overtaken
            self._note_own(counted)
        elif not self.map.is_late(lease):
            self._note(lease, self.map.fold(lease))

    def _note(self, lease: Lease, counted: set[int]) -> None:
        """What another owner said: when it has lapsed, and that what is held here may be held no more."""
        self._others[lease.owner] = self._clock_s()
        self._silent_s |= dict.fromkeys(counted, 0.0)
        if not lease.endpoint:
            del self._others[lease.owner]
        for partition in counted:
            if partition in lease.held:
                self._lapses.pop(partition, None)  # it has waited for them
            self._lapses.setdefault(partition, {})[lease.owner] = self._clock_s() + LEASE_S
            self._until.pop(partition, None)
        for partition, lapses in self._lapses.items():
            if partition not in lease.epochs:
                lapses.pop(lease.owner, None)

    def _note_own(self, counted: set[int]) -> None:
        now_s = self._clock_s()
        passed_s = min(now_s - self._own_heard_s, SILENT_S)
        self._own_heard_s = now_s
        for partition in self._silent_s:
            self._silent_s[partition] += passed_s
        self._silent_s |= dict.fromkeys(counted, 0.0)

    def _note_unknown(self) -> None:
        self._until.clear()
        self._overtaken = set(range(EVENTS.partitions))
        self._unknown_lapses = self._clock_s() + LEASE_S

    async def _move(self, below: int) -> None:
        async with self._moved:
            self._reached = below
            self._moved.notify_all()


async def leases(log: Log, start: int | Start) -> AsyncIterator[tuple[int, Lease | None]]:
    """(offset, lease) of all that is said, for ever; None is told of a lease that no codec knows. Raises as `followed`."""
    async for batch in followed(log, AT, start):
        for record in batch:
            try:
                lease = decoded(AT, record, owners.decode)
            except UnknownRecord as error:
                log_.error("a lease is unknown, every partition is claimed again: %s", error)
                lease = None
            yield record.offset, lease


def _weight(partition: int, owner: str) -> bytes:
    """Rendezvous hashing: all agree on who stands in, and it is not one for all."""
    return hashlib.blake2b(f"{partition} {owner}".encode(), digest_size=8).digest()
