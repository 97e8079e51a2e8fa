"""A topic that is followed though its client fails for a moment: one thread of it that ends is no end of its process."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from topics.log import Log, LogError, OffsetTrimmed, Record
from topics.spec import TopicPartition

AGAIN_S = 0.5
FAILURES_MAX = 10  # in a row; what still fails then is told to whoever restarts processes
WELL_S = 5.0  # after so long without a record, too, a failure is the first in a row
Start = Callable[[TopicPartition], Awaitable[int]]  # says where
log_ = logging.getLogger(__name__)


async def followed(log: Log, at: TopicPartition, start: int | Start) -> AsyncIterator[list[Record]]:
    """`Log.follow`, which goes on where it was after a `LogError`, and misses nothing. `start`: such as `log.earliest`.

    Raises `OffsetTrimmed` at once, and the last `LogError` of `FAILURES_MAX` in a row.
    """
    now_s, failures = asyncio.get_running_loop().time, 0
    while True:
        begun_s = now_s()
        try:
            if not isinstance(start, int):
                start = await start(at)
            async for batch in log.follow(at, start):
                start, failures = batch[-1].offset + 1, 0
                yield batch
        except OffsetTrimmed:
            raise
        except LogError as error:
            failures = failures + 1 if now_s() - begun_s < WELL_S else 1
            if failures == FAILURES_MAX:
                raise
            log_.warning("%s:%d cannot be followed and will be again: %s", at.topic, at.partition, error)
        await asyncio.sleep(AGAIN_S)
