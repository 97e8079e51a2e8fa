"""What an owner does beside deciding: trims decided commands, gives back blobs that were garbage for long enough.

Garbage waits for its readers. Once a second it is noted how far each partition is, and a moment is marked; what had become
garbage up to there goes when it is old enough and no read goes on that began before the mark.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from processors.readers import Readers
from processors.releases import PASS_EVERY_S, Releaser
from processors.runtime import PartitionRuntime
from topics.log import Log, LogError
from topics.sender import CommandSender

RELEASE_AFTER_S = 60.0
NOTES_MAX = 1_000  # then every other one goes: what waits for a slow reader goes in larger steps
log_ = logging.getLogger(__name__)


class _Note(NamedTuple):
    at_s: float
    mark: int
    positions: dict[int, int]  # by partition, in `events`


async def keep_house(
    log: Log,
    runtimes: Callable[[], Mapping[int, PartitionRuntime]],
    readers: Readers,
    clock_ms: Callable[[], int],
    release_after_s: float = RELEASE_AFTER_S,
) -> None:
    """For ever; `runtimes` are those of the partitions that are owned at the time."""
    send = CommandSender(log, clock_ms)
    now_s = asyncio.get_running_loop().time
    notes: list[_Note] = []
    releasers: dict[int, Releaser] = {}
    below: dict[int, int] = {}
    while True:
        owned = dict(runtimes())
        positions = {number: runtime.meta.offset for number, runtime in owned.items()}
        try:
            notes.append(_Note(now_s(), await readers.mark(), positions))
        except LogError as error:
            log_.error("what may be given back is not known, this will be tried again: %s", error)
        while notes and notes[0].at_s + release_after_s <= now_s() and readers.is_past(notes[0].mark):
            below = notes.pop(0).positions
        if len(notes) > NOTES_MAX:
            del notes[1::2]
        for number, runtime in owned.items():
            releaser = releasers.setdefault(number, Releaser(log, number, send))
            try:
                await runtime.trim()
                await releaser.run_pass(runtime.view, below.get(number, 0))
            except (LogError, OSError) as error:  # this partition's: the others' house is kept
                log_.error("housekeeping of partition %d failed and will be tried again: %s", number, error)
        await asyncio.sleep(PASS_EVERY_S)
