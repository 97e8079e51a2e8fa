"""What a cluster says of its data nodes: the latest map and heartbeats, from Kafka."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.kafka.cluster import Cluster
from topics import heartbeats, placement, spec
from topics.heartbeats import Heartbeat
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import KafkaConfig
from topics.log import OffsetTrimmed
from topics.placement import Placement, State
from topics.secret import ClusterSecret
from topics.spec import TopicPartition

HEARD = 60  # heartbeats and ticks to look at
LOOK_S = 0.25
_PLACEMENT, _HEARTBEATS = TopicPartition("placement", 0), TopicPartition("heartbeats", 0)


class ClusterState(NamedTuple):
    placement: Placement
    beats: dict[str, Heartbeat]  # the latest of each node that said something lately
    ends: dict[int, int]  # of each group's `writes`

    def trouble(self) -> list[str]:
        """Why the cluster does not have all its copies; empty where it has."""
        found = [f"{node.name} is {node.state}" for node in self.placement.nodes.values() if node.state is not State.UP]
        for number, group in enumerate(self.placement.groups):
            if len(group.targets) < min(self.placement.copies, len(self.placement.nodes)):
                found.append(f"group {number} has {len(group.targets)} targets")
            if set(group.targets) != set(group.holders or []):
                found.append(f"group {number}: targets {group.targets}, holders {group.holders}")
            for name in group.members:
                position = self.beats[name].positions.get(number, 0) if name in self.beats else -1
                if position < self.ends[number]:
                    found.append(f"group {number}: {name} is at {position} of {self.ends[number]}")
        return found + [f"{name} lacks {beat.behind}" for name, beat in self.beats.items() if beat.behind]


def secret_of(cluster: Cluster) -> ClusterSecret:
    return ClusterSecret(cluster.env["BUCKETLOG_CLUSTER_SECRET"].encode())


@asynccontextmanager
async def log_of(cluster: Cluster) -> AsyncIterator[KafkaLog]:
    log = await KafkaLog.open(KafkaConfig(cluster.bootstrap, cluster.prefix))
    try:
        yield log
    finally:
        await log.close()


async def read_state(log: KafkaLog, secret: ClusterSecret) -> ClusterState:
    while True:
        try:
            return await _read_state(log, secret)
        except OffsetTrimmed:
            continue  # a newer map took the place of the one asked for


async def _read_state(log: KafkaLog, secret: ClusterSecret) -> ClusterState:
    latest = await log.latest(_HEARTBEATS)
    beats = {}
    for record in await log.read(_HEARTBEATS, max(await log.earliest(_HEARTBEATS), latest - HEARD)):
        with contextlib.suppress(heartbeats.Unsigned):
            if isinstance(beat := heartbeats.decode(record.value, secret), Heartbeat):
                beats[beat.node] = beat
    maps = await log.read(_PLACEMENT, await log.earliest(_PLACEMENT))
    ends = await asyncio.gather(*(log.latest(TopicPartition("writes", group)) for group in range(spec.GROUPS)))
    return ClusterState(placement.decode(maps[-1].value) if maps else Placement(), beats, dict(enumerate(ends)))


def state(cluster: Cluster) -> ClusterState:
    async def read() -> ClusterState:
        async with log_of(cluster) as log:
            return await read_state(log, secret_of(cluster))

    return asyncio.run(read())


def wait_until_whole(cluster: Cluster, within_s: float) -> float:
    """Until every group has all its copies; how long it took. Nobody may write meanwhile."""
    started = time.monotonic()

    async def wait() -> None:
        async with log_of(cluster) as log:
            while trouble := (await read_state(log, secret_of(cluster))).trouble():
                assert time.monotonic() < started + within_s, trouble[:10]
                await asyncio.sleep(LOOK_S)

    asyncio.run(wait())
    return time.monotonic() - started
