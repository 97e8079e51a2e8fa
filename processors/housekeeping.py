"""What an owner does beside deciding: trims decided commands, gives back blobs that were garbage for long enough."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping

from processors.releases import release_garbage
from processors.runtime import PartitionRuntime
from topics.log import Log, LogError
from topics.sender import CommandSender

EVERY_S = 1.0
RELEASE_AFTER_S = 60.0  # a GET that began before an overwrite may still be reading what was replaced
log_ = logging.getLogger(__name__)


async def keep_house(
    log: Log,
    runtimes: Callable[[], Mapping[int, PartitionRuntime]],
    clock_ms: Callable[[], int],
    release_after_s: float = RELEASE_AFTER_S,
) -> None:
    """For ever; `runtimes` are those of the partitions that are owned at the time."""
    send = CommandSender(log, clock_ms)
    loop = asyncio.get_running_loop()
    marks: deque[tuple[float, dict[int, int]]] = deque()
    while True:
        marks.append((loop.time(), {number: runtime.meta.offset for number, runtime in runtimes().items()}))
        is_due = marks[0][0] + release_after_s <= loop.time()
        for number, runtime in list(runtimes().items()):
            try:
                await runtime.trim()
                if is_due and number in marks[0][1]:
                    await release_garbage(log, runtime.view, number, marks[0][1][number], send)
            except (LogError, OSError) as error:  # this partition's: the others' house is kept
                log_.error("housekeeping of partition %d failed and will be tried again: %s", number, error)
        if is_due:
            marks.popleft()
        await asyncio.sleep(EVERY_S)
