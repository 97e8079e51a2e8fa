"""What an owner does beside deciding: trims decided commands, gives back blobs that were garbage for long enough."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping

from processors.releases import PASS_EVERY_S, Releaser
from processors.runtime import PartitionRuntime
from topics.log import Log, LogError
from topics.sender import CommandSender

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
    releasers: dict[int, Releaser] = {}
    while True:
        owned = dict(runtimes())
        marks.append((loop.time(), {number: runtime.meta.offset for number, runtime in owned.items()}))
        is_due = marks[0][0] + release_after_s <= loop.time()
        for number, runtime in owned.items():
            releaser = releasers.setdefault(number, Releaser(log, number, send))
            try:
                await runtime.trim()
                if is_due and number in marks[0][1]:
                    await releaser.run_pass(runtime.view, marks[0][1][number])
            except (LogError, OSError) as error:  # this partition's: the others' house is kept
                log_.error("housekeeping of partition %d failed and will be tried again: %s", number, error)
        if is_due:
            marks.popleft()
        await asyncio.sleep(PASS_EVERY_S)
