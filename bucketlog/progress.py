"""How far the owners of the partitions are, as a gateway of a cluster finds out: it asks each, and the log."""

import asyncio
from collections.abc import Mapping

from bucketlog.status import PartitionStatus
from processors.remote import RemoteReads, Unanswered
from topics.log import Log, LogError
from topics.spec import COMMANDS, TopicPartition

WAIT_S = 2.0


async def partitions(log: Log, reads: RemoteReads) -> list[PartitionStatus]:
    owners = {number: reads.owners.endpoint(number) or "" for number in range(COMMANDS.partitions)}
    endpoints = sorted(set(owners.values()) - {""})
    answers = await asyncio.gather(*(_decided(reads, each) for each in endpoints))
    decided = dict(zip(endpoints, answers, strict=True))
    lags = [_lag(log, number, decided.get(owner, {}).get(number)) for number, owner in owners.items()]
    found = zip(owners.items(), await asyncio.gather(*lags), strict=True)
    return [PartitionStatus(number, owner, lag) for (number, owner), lag in found]


async def _decided(reads: RemoteReads, endpoint: str) -> Mapping[int, int]:
    try:
        async with asyncio.timeout(WAIT_S):
            return await reads.decided(endpoint)
    except (Unanswered, TimeoutError):
        return {}


async def _lag(log: Log, number: int, decided: int | None) -> int | None:
    if decided is None:
        return None
    try:
        async with asyncio.timeout(WAIT_S):
            return max(0, await log.latest(TopicPartition("commands", number)) - decided)
    except (LogError, TimeoutError):
        return None
