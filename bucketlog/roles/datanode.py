"""The role of a data node: it follows the `writes` of its groups, takes large payloads and forwards them, gives bytes, and
mends itself.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bucketlog import identity
from bucketlog.clock import now_ms
from bucketlog.folder import DataFolder
from bucketlog.health import Health
from bucketlog.metrics.composed import of_data_node
from bucketlog.roles.cluster import cluster_secret, endpoint_of, opened_log, tell, with_health
from bucketlog.server import Service
from bucketlog.settings import Settings
from bucketlog.times import times
from bucketlog.work import Work
from datanode.api import create_node_app
from datanode.clock import LogClock
from datanode.heartbeat import Heart, Said
from datanode.index import BlobIndex
from datanode.placement import PlacementMap
from datanode.remote import RemoteNodes
from datanode.service import NodeService
from datanode.store import VolumeStore
from topics.disk import OsDisk
from topics.rocksdb import RocksMap
from topics.sender import CommandSender


@asynccontextmanager
async def datanode(settings: Settings) -> AsyncIterator[Service]:
    """Raises `FolderRefused`."""
    secret = cluster_secret(settings)
    folder = DataFolder(settings.data)
    async with opened_log(settings) as log, RemoteNodes(secret) as nodes:
        own = identity.load(folder.path, settings.node or socket.gethostname(), log.identity)
        disk, known = OsDisk(folder.path), PlacementMap()
        store = VolumeStore(disk, BlobIndex(RocksMap(folder.path / "index")))
        clock = LogClock(now_ms)
        service = NodeService(own, log, store, known, nodes, CommandSender(log, clock), clock, times(settings))
        said = Said(endpoint_of(settings), settings.failure_domain or own.name, disk.total_bytes())
        heart, work = Heart(log, service, said, secret, clock), Work()
        work.start("map of data nodes", known.run(log))
        serving = work.start(f"data node {own.name}", service.run())
        work.start("heartbeats", heart.run())
        tell(settings, f"data node {own.name}")
        app = create_node_app(service.node, secret)
        metrics = of_data_node(settings, log, service)
        health = Health(
            lambda: [*work.needs_restart(), *service.needs_restart()],
            lambda: [*work.ended(), *service.unready(), *heart.unready()],
        )
        yield Service(with_health(app, metrics, health), must_run=serving)
        await work.end()
        await service.stop()
        disk.close()
    folder.close()
