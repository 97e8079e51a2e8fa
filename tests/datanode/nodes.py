"""A data node on a folder, and the same node behind its HTTP API on a free port, for tests."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import uvicorn
from starlette.types import ASGIApp

from datanode.api import create_node_app
from datanode.fetch import Fetch
from datanode.local import LocalNode
from datanode.node import BlobRef, DataNode
from datanode.placement import PlacementMap
from datanode.remote import RemoteNode
from datanode.replica import GroupReplica
from datanode.store import VolumeStore
from tests.datanode.stores import opened as opened_store
from tests.server import free_port
from tests.simulation.cluster.broker import Weather
from tests.simulation.cluster.processes import ClusterLoop
from tests.simulation.data.network import Machine, Network, SimulatedNode
from topics import spec
from topics.memory import MemoryLog
from topics.placement import Group, Node, Placement
from topics.secret import ClusterSecret

SECRET = ClusterSecret(b"a secret of a test cluster")
OWN = "node-1"


class Parts(NamedTuple):
    """What lies below a node under test: the only one of its cluster, which holds group 0 and still copies group 1."""

    folder: Path
    log: MemoryLog
    store: VolumeStore
    replica: GroupReplica
    node: LocalNode
    damaged: list[tuple[int, bytes]]  # what its reads found


def unreachable(endpoint: str) -> DataNode:
    raise AssertionError(f"there is no other node to ask, least of all {endpoint}")


@asynccontextmanager
async def node_parts(folder: Path) -> AsyncIterator[Parts]:
    with opened_store(folder) as store:
        log, known = MemoryLog("test", lambda: 1), PlacementMap()
        await log.create_topics(spec.ALL)
        own = Node(OWN, "incarnation", "boot", "http://own", "domain", 1)
        known.update(Placement(1, 1, {OWN: own}, [Group([OWN], [OWN])] * spec.GROUPS))
        fetch = Fetch(store, OWN, known, unreachable, 1e9)
        replica = GroupReplica(log, store, 0, fetch, list, lambda: None)
        replicas = {0: replica, 1: GroupReplica(log, store, 1, fetch, list, lambda: None)}
        damaged: list[tuple[int, bytes]] = []
        node = LocalNode(
            OWN, store, replicas, known, unreachable, lambda group: group == 0, lambda *found: damaged.append(found)
        )
        running = asyncio.create_task(replica.run())
        try:
            yield Parts(folder, log, store, replica, node, damaged)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """Its endpoint."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, lifespan="off", log_level="critical", timeout_graceful_shutdown=1)
    )
    running = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn tells it by nothing else
        await asyncio.sleep(0)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def opened(kind: str, parts: Parts) -> AsyncIterator[DataNode]:
    """The node itself ("local"), by way of its HTTP API ("remote"), or of the simulated network ("simulated")."""
    if kind == "local":
        yield parts.node
        return
    if kind == "simulated":
        yield _simulated(parts.node)
        return
    async with served(create_node_app(parts.node, SECRET)) as endpoint, RemoteNode(endpoint, SECRET) as remote:
        yield remote


def _simulated(node: LocalNode) -> SimulatedNode:
    """For an asker in a world of fine weather, whose loop is running."""
    loop, rng = asyncio.get_running_loop(), random.Random(0)
    assert isinstance(loop, ClusterLoop)
    network = Network(loop, Weather(rng, lambda _: None), rng, lambda _: None)
    served = network.machines[f"http://{OWN}"] = Machine(loop, OWN, 0.0)
    served.node = node
    return SimulatedNode(network, Machine(loop, "asker", 0.0), f"http://{OWN}")


async def put(
    node: DataNode, ref: BlobRef, data: bytes, piece: int = 100_000, *, leads: bool = False
) -> tuple[int, list[str]]:
    """Its crc32c, and who has synced it."""
    writer = await node.create(ref, len(data), leads=leads)
    for at in range(0, len(data), piece):
        await writer.write(data[at : at + piece])
    holders = await writer.commit()
    return writer.crc32c, holders
