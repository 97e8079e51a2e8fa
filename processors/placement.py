"""The reactor that publishes the cluster's map: from the control partition's view to the topic `placement`.

It runs where the control partition is owned. Publishing is idempotent: followers take the map with the highest epoch, so
that a late one of an earlier owner harms nobody.
"""

import asyncio
import logging
from collections.abc import Callable

from processors.machine import tables
from processors.view import Readable
from topics import placement
from topics.log import Entry, Log, LogError
from topics.placement import Placement
from topics.spec import TopicPartition

AT = TopicPartition("placement", 0)
LOOK_S = 0.05
AGAIN_S = 0.5
PUBLISH_EVERY_S = 30.0  # also where nothing is new: a late map of a former owner may have taken the place of this one
log_ = logging.getLogger(__name__)


async def publish_placement(
    log: Log, owned: Callable[[], Readable | None], on_map: Callable[[Placement], None] = lambda _: None
) -> None:
    """For ever. `owned`: the control partition's view while it is owned here; `on_map` is told what was published."""
    loop, published, again_s = asyncio.get_running_loop(), None, 0.0
    while True:
        view = owned()
        row = view.get(tables.PLACEMENT_KEY) if view is not None else None
        if view is None:
            published = None  # who owns it meanwhile may publish, and be cut off before it has
        elif row is not None and (row != published or loop.time() > again_s):
            try:
                found = tables.placement(view)
                (offset,) = await log.append(AT, [Entry(b"map", placement.encode(found))], durable=True)
                await log.trim(AT, offset)
                on_map(found)
                published, again_s = row, loop.time() + PUBLISH_EVERY_S
            except LogError as error:
                log_.warning("the map of data nodes cannot be published and will be again: %s", error)
                await asyncio.sleep(AGAIN_S)
        await asyncio.sleep(LOOK_S)
