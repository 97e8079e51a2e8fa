"""The sweep for blobs that no object refers to: what a killed gateway or a broken-off upload left, and what a node that was
away kept although it was released.

Nothing is removed here. A node asks the partition that a blob's header names, by a command that lists many; the partition
decides in the order of its log what nothing refers to, and its releases come by `writes`. Only blobs older than any
request are asked for: by the time in their id, a UUIDv7, and by a clock that makes nothing older where it is set ahead.
What is asked for too early costs its request, and no more: a later command that names it is rejected. A blob is asked for
when it has come of age, then once in each slow round over all of them, for what was released while the node could not
hear of it.
So is a blob that a claim announced and that is not here. A claim may come behind the release of its blob, as when its
append was late: nobody can supply that blob, and the log of its group would be kept for it until it is released again.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Set

from datanode.clock import AgeClock
from datanode.member import Submit
from datanode.store import Held, VolumeStore
from topics import commands
from topics.log import LogError
from topics.spec import CONTROL_PARTITION

ORPHAN_AFTER_S = 6 * 3600.0  # no request takes longer
BATCH = 500  # blobs in one command
PACE_S = 1.0  # between two batches
EVERY_S = 86_400.0  # from the start of one round to the next
LOOK_SHARE = 0.01  # of that age: how often to look who has reached it
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
    every_s: float = EVERY_S,
    announced: Callable[[int], Iterable[Held]] = lambda group: (),
) -> None:
    """For ever, over the groups that are held. `announced`: what the log says is there, and is not here."""
    loop, again_s = asyncio.get_running_loop(), 0.0
    age_clock_ms = AgeClock(clock_ms, loop.time, orphan_after_s)

    def below_ms() -> int:
        return age_clock_ms() - int(orphan_after_s * 1000)

    below_ms()  # the clock is known from here on
    asked: dict[int, bytes] = {}  # group → the blob up to which it was asked for, in this round
    absent: set[bytes] = set()  # what was announced, and was asked for in this round
    while True:
        await asyncio.sleep(max(pace_s, orphan_after_s * LOOK_SHARE))
        if loop.time() >= again_s:
            asked, absent, again_s = {}, set(), loop.time() + every_s
        held = list(groups())
        asked = {group: blob for group, blob in asked.items() if group in held}  # who is no holder may miss releases
        for group in held:
            try:
                if fresh := _absent(announced(group), absent, below_ms()):
                    await _ask(group, fresh, submit)
                    absent.update(each.blob for each in fresh)
                    await asyncio.sleep(pace_s)
                while old := _come_of_age(store, group, asked.get(group, b""), below_ms()):
                    await _ask(group, old, submit)
                    asked[group] = old[-1].blob
                    await asyncio.sleep(pace_s)
            except (LogError, OSError) as error:
                log_.warning("orphans cannot be asked for now: %s", error)


def _come_of_age(store: VolumeStore, group: int, after: bytes, below_ms: int) -> list[Held]:
    """A batch of those that were minted before that: the first ones, as ids rise with time."""
    return [held for held in store.blobs(group, after, BATCH) if minted_ms(held.blob) < below_ms]


def _absent(announced: Iterable[Held], asked: Set[bytes], below_ms: int) -> list[Held]:
    return [each for each in announced if each.blob not in asked and minted_ms(each.blob) < below_ms][:BATCH]


async def _ask(group: int, blobs: Iterable[Held], submit: Submit) -> None:
    by_partition: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for held in blobs:
        if held.partition < CONTROL_PARTITION:
            by_partition[held.partition].append((group, held.blob.hex()))
    for partition, named in by_partition.items():
        await submit(commands.ReleaseOrphans(partition, named))
