"""The release reactor: gives blobs that lost their last reference back to the volumes.

It follows what `apply` noted as garbage, appends the releases to `writes`, and clears the notes by a command. Releases may
be repeated after a crash; they are idempotent.
"""

from collections.abc import Awaitable, Callable

from processors.machine import tables
from processors.view import Readable
from topics import commands, writes
from topics.log import Entry, Log
from topics.spec import TopicPartition

POSITIONS_MAX = 1_000  # an append at a time
Submit = Callable[[commands.Body], Awaitable[None]]


async def release_garbage(log: Log, view: Readable, partition: int, below: int, submit: Submit) -> int:
    """One pass over what became garbage before the position `below`; returns how many blobs were released."""
    entries: dict[int, list[Entry]] = {}
    last = -1
    for count, (position, blobs) in enumerate(tables.garbage(view)):
        if count == POSITIONS_MAX or position >= below:
            break
        last = position
        for group, blob in blobs:
            entries.setdefault(group, []).append(Entry(bytes.fromhex(blob), writes.RELEASE))
    for group, releases in entries.items():
        await log.append(TopicPartition("writes", group), releases, durable=True)
    if last >= 0:
        await submit(commands.ForgetReleased(partition, last + 1))
    return sum(map(len, entries.values()))
