"""Leases on partitions: who may answer reads. One log, the topic `owners`, orders all that owners say.

An owner says each second what it holds. What it said is good for `LEASE_S` from before it was sent, but only if nobody with
a higher epoch had spoken before it in the topic. A new owner speaks once and then waits `LEASE_S`, unless the one before
has let go: whatever that one said earlier has lapsed by then, and whatever it says later is void.
Clocks: only differences of one machine's own clock are used, one that goes on while the machine sleeps.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

from topics import owners
from topics.log import Entry, Log, LogError
from topics.owners import LEASE_S, RENEW_S, Lease
from topics.spec import TopicPartition

AT = TopicPartition("owners", 0)
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

    def fold(self, lease: Lease) -> set[int]:
        """The partitions that this lease speaks for; the others in it are held by a higher epoch."""
        counted = set()
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
        self._epochs: dict[int, int] = {}
        self._until: dict[int, float] = {}
        self._counted: dict[int, set[int]] = {}  # offset of what was said here → the partitions that it counted for
        self._reached = 0  # below this offset everything is known
        self._moved = asyncio.Condition()

    def is_held(self, partition: int) -> bool:
        """Whether a read that ended just now may be answered."""
        return self._clock_s() < self._until.get(partition, 0.0)

    async def take(self, partition: int, epoch: int) -> None:
        """Hold a partition that was claimed with `epoch`; returns when the one before can answer nothing any more."""
        await self._settled(await self._log.latest(AT))
        before = self.map.holders.get(partition)
        self._epochs[partition] = epoch
        await self._say()
        if before is not None and before.owner != self._owner and not before.has_let_go:
            await asyncio.sleep(LEASE_S)
        await self._say()

    async def let_go(self, partitions: set[int]) -> None:
        for partition in partitions:
            self._epochs.pop(partition, None)
            self._until.pop(partition, None)
        await self._say()

    async def run(self, epochs: Callable[[], dict[int, int]]) -> None:
        """Renew and follow for ever; `epochs` tells the present epoch of each partition that is held."""
        following = asyncio.create_task(self._follow())
        try:
            while not following.done():
                await asyncio.sleep(RENEW_S)
                present = epochs()
                self._epochs = {each: present.get(each, epoch) for each, epoch in self._epochs.items()}
                with contextlib.suppress(LogError):  # the next one may get through; until then the lease runs out
                    await self._say()
            await following
        finally:
            following.cancel()

    async def _say(self) -> None:
        """Tell what is held, and wait until it is known what it is good for."""
        sent = self._clock_s()
        lease = Lease(self._owner, self._endpoint, dict(self._epochs))
        (offset,) = await self._log.append(AT, [Entry(b"", owners.encode(lease))], durable=True)
        await self._settled(offset + 1)
        for partition in self._counted.pop(offset):
            if partition in self._epochs and self.map.holders[partition].owner == self._owner:
                self._until[partition] = sent + LEASE_S

    async def _settled(self, below: int) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self._reached >= below)

    async def _follow(self) -> None:
        await self._move(await self._log.earliest(AT))
        async for offset, lease in leases(self._log, self._reached):
            counted = self.map.fold(lease)
            if lease.owner == self._owner:
                self._counted[offset] = counted
            for partition in set(self._until):
                if self.map.holders[partition].owner != self._owner:
                    del self._until[partition]
            await self._move(offset + 1)

    async def _move(self, below: int) -> None:
        async with self._moved:
            self._reached = below
            self._moved.notify_all()


async def leases(log: Log, start: int) -> AsyncIterator[tuple[int, Lease]]:
    """(offset, lease) of all that is said, for ever."""
    async for batch in log.follow(AT, start):
        for record in batch:
            yield record.offset, owners.decode(record.value)
