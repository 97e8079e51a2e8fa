"""What this node says each second to who judges it. A heartbeat that cannot be sent is not sent again: the next one says
more."""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from datanode.service import NodeService
from topics import heartbeats
from topics.heartbeats import EVERY_S, Heartbeat
from topics.log import Entry, Log, LogError
from topics.secret import ClusterSecret
from topics.spec import TopicPartition

AT = TopicPartition("heartbeats", 0)
log_ = logging.getLogger(__name__)


class Said(NamedTuple):
    """What stays the same while the process lives."""

    endpoint: str
    domain: str
    capacity_bytes: int


async def beat(log: Log, service: NodeService, said: Said, secret: ClusterSecret, clock_ms: Callable[[], int]) -> None:
    """For ever."""
    while True:
        entry = Entry(service.own.name.encode(), heartbeats.encode(_heartbeat(log, service, said, clock_ms()), secret))
        try:
            await log.append(AT, [entry], durable=True)
        except LogError as error:
            log_.warning("a heartbeat could not be sent: %s", error)
        await asyncio.sleep(EVERY_S)


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
    )
