"""What this node says each second to who judges it. A heartbeat that cannot be sent is not sent again: the next one says
more."""

import asyncio
import itertools
import logging
from typing import NamedTuple

from datanode.clock import LogClock
from datanode.service import NodeService
from topics import heartbeats
from topics.heartbeats import EVERY_S, Heartbeat
from topics.log import Entry, Log, LogError
from topics.secret import ClusterSecret
from topics.spec import TopicPartition

AT = TopicPartition("heartbeats", 0)
CLOCK_EVERY = 60  # heartbeats
SILENT_S = 5.0  # from then on the node says that it is not ready; it counts as down after the grace only
log_ = logging.getLogger(__name__)


class Said(NamedTuple):
    """What stays the same while the process lives."""

    endpoint: str
    domain: str
    capacity_bytes: int


class Heart:
    def __init__(self, log: Log, service: NodeService, said: Said, secret: ClusterSecret, clock: LogClock) -> None:
        self._log = log
        self._service = service
        self._said = said
        self._secret = secret
        self._clock = clock
        self._heard_s = -SILENT_S

    async def run(self) -> None:
        """For ever."""
        for count in itertools.count():
            own_ms = self._clock.own_ms()
            value = heartbeats.encode(_heartbeat(self._log, self._service, self._said, own_ms), self._secret)
            try:
                (offset,) = await self._log.append(AT, [Entry(self._service.own.name.encode(), value)], durable=True)
                self._heard_s = asyncio.get_running_loop().time()
                if count % CLOCK_EVERY == 0:
                    await self._compare_clocks(offset, own_ms)
            except LogError as error:
                log_.warning("a heartbeat could not be sent: %s", error)
            await asyncio.sleep(EVERY_S)

    async def _compare_clocks(self, offset: int, own_ms: int) -> None:
        """Who judges tells it too; here it is told to whoever can set it."""
        for record in await self._log.read(AT, offset, records_max=1):
            if ahead_s := self._clock.compare(own_ms, record.time_ms):
                word = "ahead of" if ahead_s > 0 else "behind"
                log_.critical("this machine's clock is %.0f s %s the log's; set it right", abs(ahead_s), word)

    def unready(self) -> list[str]:
        is_silent = asyncio.get_running_loop().time() - self._heard_s >= SILENT_S
        return [f"no heartbeat reached the log for {SILENT_S:g} s"] if is_silent else []


def _heartbeat(log: Log, service: NodeService, said: Said, clock_ms: int) -> Heartbeat:
    return Heartbeat(
        *service.own,
        said.endpoint,
        said.domain,
        log.identity,
        clock_ms,
        said.capacity_bytes,
        service.used_bytes,
        service.store.is_read_only,
        dict(service.positions),
        service.behind,
        service.disk_failure,
    )
