"""The cluster's map as its followers have it: the latest record of the topic `placement`."""

import asyncio
import logging

from topics import placement
from topics.log import Log, LogError, OffsetTrimmed, decoded
from topics.placement import Placement
from topics.spec import TopicPartition

AT = TopicPartition("placement", 0)
AGAIN_S = 0.5
log_ = logging.getLogger(__name__)


class PlacementMap:
    def __init__(self) -> None:
        self.current = Placement()
        self._moved = asyncio.Event()

    async def run(self, log: Log) -> None:
        """Follow for ever."""
        while True:
            try:
                async for batch in log.follow(AT, await log.earliest(AT)):
                    for record in batch:
                        self.update(decoded(AT, record, placement.decode))
            except OffsetTrimmed:
                continue  # a newer map has taken the place of the one asked for
            except LogError as error:
                log_.warning("the map of data nodes cannot be followed and will be again: %s", error)
                await asyncio.sleep(AGAIN_S)

    def update(self, found: Placement) -> None:
        """A map that is older than what is known changes nothing."""
        if found.epoch > self.current.epoch:
            self.current = found
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()

    async def changed(self, epoch: int) -> None:
        """Returns when a map with a higher epoch is known."""
        while self.current.epoch <= epoch:
            await self._moved.wait()
