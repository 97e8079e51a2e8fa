"""The in-memory side of one partition, shared by the memory and embedded adapters: offsets, visibility, waking followers.

Records live here while they are recent; `earliest` is the lowest offset that can be read at all, `floor` the lowest that
is still held in memory (an adapter reads what lies below from its files).
"""

import asyncio
import bisect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from topics.log import LogError, OffsetTrimmed, Record
from topics.spec import TopicPartition, TopicSpec, Visible


class Partition:
    def __init__(self, at: TopicPartition, spec: TopicSpec) -> None:
        self.at = at
        self.spec = spec
        self.records: list[Record] = []
        self.earliest = 0
        self.floor = 0
        self.next_offset = 0
        self.durable_below = 0
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def visible_below(self) -> int:
        return self.next_offset if self.spec.visible is Visible.APPENDED else self.durable_below

    def add(self, records: Sequence[Record]) -> None:
        self.records.extend(records)
        self.next_offset = records[-1].offset + 1
        if self.spec.visible is Visible.APPENDED:
            self.wake()

    def made_durable(self, below: int) -> None:
        self.durable_below = max(self.durable_below, below)
        if self.spec.visible is Visible.DURABLE:
            self.wake()

    def drop_between(self, start: int, end: int) -> None:
        """Forget records that a failed append burned (offsets start..end-1)."""
        del self.records[self._index(start) : self._index(end)]

    def drop_below(self, offset: int) -> None:
        """Forget records that are kept elsewhere or not at all."""
        del self.records[: self._index(offset)]
        self.floor = max(self.floor, offset)

    def trim(self, before: int) -> None:
        self.earliest = max(self.earliest, min(before, self.durable_below))
        self.drop_below(self.earliest)

    def durable_from(self, offset: int) -> list[Record]:
        """Those that are held in memory."""
        return self.records[self._index(offset) : self._index(self.durable_below)]

    def read(self, offset: int, records_max: int) -> list[Record]:
        if offset < self.earliest:
            raise OffsetTrimmed(f"{self.at.topic}:{self.at.partition} starts at {self.earliest}, not {offset}")
        start = self._index(offset)
        end = min(start + records_max, self._index(self.visible_below))
        return self.records[start:end]

    async def wait(self, offset: int) -> None:
        """Return once a visible record may lie at or above `offset`."""
        if self.visible_below > offset:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _index(self, offset: int) -> int:
        if not self.records or offset <= self.records[0].offset:
            return 0
        return bisect.bisect_left(self.records, offset, key=_offset)


class Partitions(dict[TopicPartition, Partition]):
    """All of a log. Raises `LogError` for one that there is not."""

    def __missing__(self, at: TopicPartition) -> Partition:
        raise LogError(f"no partition {at.topic}:{at.partition}; create the topic first")


async def follow(
    partition: Partition, offset: int, read: Callable[[TopicPartition, int], Awaitable[list[Record]]]
) -> AsyncIterator[list[Record]]:
    """`Log.follow` of an adapter with that `read`."""
    while True:
        await partition.wait(offset)
        if batch := await read(partition.at, offset):
            offset = batch[-1].offset + 1
            yield batch
        else:
            offset = max(offset, partition.visible_below)


def _offset(record: Record) -> int:
    return record.offset
