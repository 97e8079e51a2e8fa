"""The sweep for blobs that no object refers to: what a killed gateway or a broken-off upload left, and what a node that was
away kept although it was released.

Nothing is removed here. A node asks the partition that a blob's header names, by a command that lists many; the partition
decides in the order of its log what nothing refers to, and its releases come by `writes`. Only blobs older than any
request are asked for (by the time in their id, a UUIDv7), and what is asked for too early is harmless: a later command that
names it is rejected. The sweep goes round slowly and for ever.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from datanode.member import Submit
from datanode.store import VolumeStore
from topics import commands
from topics.log import LogError
from topics.spec import CONTROL_PARTITION

ORPHAN_AFTER_S = 6 * 3600.0  # no request takes longer
BATCH = 500  # blobs in one command
PACE_S = 1.0  # between two batches
log_ = logging.getLogger(__name__)


def minted_ms(blob: bytes) -> int:
    """The time in a UUIDv7 (RFC 9562 §5.7)."""
    return int.from_bytes(blob[:6], "big")


async def sweep(
    store: VolumeStore,
    groups: Callable[[], Iterable[int]],
    submit: Submit,
    clock_ms: Callable[[], int],
    orphan_after_s: float = ORPHAN_AFTER_S,
    pace_s: float = PACE_S,
) -> None:
    """For ever, over the groups that are held."""
    while True:
        await asyncio.sleep(pace_s)
        for group in list(groups()):
            after = b""
            while page := store.blobs(group, after, BATCH):
                below_ms = clock_ms() - int(orphan_after_s * 1000)
                old = [held for held in page if minted_ms(held.blob) < below_ms]
                by_partition: dict[int, list[tuple[int, str]]] = defaultdict(list)
                for held in old:
                    if held.partition < CONTROL_PARTITION:
                        by_partition[held.partition].append((group, held.blob.hex()))
                try:
                    for partition, blobs in by_partition.items():
                        await submit(commands.ReleaseOrphans(partition, blobs))
                except LogError as error:
                    log_.warning("orphans cannot be asked for now: %s", error)
                if old:
                    await asyncio.sleep(pace_s)
                if len(old) < len(page):
                    break  # ids rise with time: all others are younger
                after = page[-1].blob
