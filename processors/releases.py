"""The release reactor of one partition: gives blobs that lost their last reference back to the volumes.

It follows what `apply` noted as garbage, appends the releases to `writes`, and clears the notes by a command. Releases may
be repeated after a crash; they are idempotent. Parts that were dropped in great number become garbage first, bit by bit.
The work of a pass is bounded, and so is each step in it, here and where its command is carried out.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

from processors.machine import tables
from processors.machine.tables import Cut
from processors.view import Readable
from topics import commands, writes
from topics.log import Entry, Log
from topics.sender import DEADLINE_MS
from topics.spec import TopicPartition

PASS_EVERY_S = 1.0
STEP_BLOBS_MAX = 500  # some milliseconds
STEPS_MAX = 50  # in a pass
DISCARDS_MAX = 4  # in a pass, of PARTS_DISCARDED_MAX parts each
PATIENCE_PASSES = int(DEADLINE_MS / 1000 / PASS_EVERY_S)
Submit = Callable[[commands.Body], Awaitable[None]]


class Releaser:
    def __init__(self, log: Log, partition: int, submit: Submit) -> None:
        self._log = log
        self._partition = partition
        self._submit = submit
        self._asked = Cut()  # that what is below be forgotten
        self._patience = 0

    async def run_pass(self, view: Readable, below: int) -> int:
        """What became garbage before the position `below`; returns how many blobs were released.

        Nothing while the view does not show what the last pass asked for, unless its commands are past their deadline.
        """
        if next(tables.dropped(view), None) is not None:
            for _ in range(DISCARDS_MAX):
                await self._submit(commands.DiscardParts(self._partition))
        start = tables.garbage_from(view)
        if start < self._asked and self._patience:
            self._patience -= 1
            return 0
        released = 0
        for _ in range(STEPS_MAX):
            blobs, end = _step(view, start, below)
            if not blobs:
                break
            await self._release(blobs)
            await self._submit(commands.ForgetReleased(self._partition, end.position, end.number))
            released += len(blobs)
            self._asked = start = end
        self._patience = PATIENCE_PASSES
        return released

    async def _release(self, blobs: list[tuple[int, str]]) -> None:
        entries: dict[int, list[Entry]] = defaultdict(list)
        for group, blob in blobs:
            entries[group].append(Entry(bytes.fromhex(blob), writes.RELEASE))
        appends = (
            self._log.append(TopicPartition("writes", group), releases, durable=True) for group, releases in entries.items()
        )
        await asyncio.gather(*appends)


def _step(view: Readable, start: Cut, below: int) -> tuple[list[tuple[int, str]], Cut]:
    """Blobs from the place `start` on, and where they end."""
    found, end = list[tuple[int, str]](), start
    for place, blobs in tables.garbage(view, start, Cut(below)):
        if len(found) >= STEP_BLOBS_MAX:
            break
        found += blobs
        end = Cut(place.position, place.number + 1)
    return found, end
