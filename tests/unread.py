"""A log in memory that cannot be read for a while, as where a broker says no to one partition."""

from collections.abc import AsyncIterator

from topics.log import LogError, Record
from topics.memory import MemoryLog
from topics.spec import TopicPartition


class Unread(MemoryLog):
    """Knob: `fails`, whether who follows is told at the next record that it cannot be read."""

    fails = False

    async def follow(self, at: TopicPartition, offset: int) -> AsyncIterator[list[Record]]:
        async for batch in super().follow(at, offset):
            if self.fails:
                raise LogError(f"{at.topic} cannot be read")
            yield batch
