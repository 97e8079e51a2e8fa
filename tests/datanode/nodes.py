"""A data node on a folder, and the same node behind its HTTP API on a free port, for tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import uvicorn
from datanode.consumer import WritesConsumer
from starlette.types import ASGIApp

from datanode.api import create_node_app
from datanode.client import GROUP
from datanode.index import BlobIndex
from datanode.node import DataNode, LocalNode
from datanode.remote import RemoteNode
from datanode.store import VolumeStore
from tests.server import free_port
from topics import spec
from topics.disk import OsDisk
from topics.memory import MemoryLog
from topics.rocksdb import RocksMap
from topics.secret import ClusterSecret

SECRET = ClusterSecret(b"a secret of a test cluster")


class Parts(NamedTuple):
    """What lies below a node under test."""

    folder: Path
    log: MemoryLog
    store: VolumeStore
    consumer: WritesConsumer


@asynccontextmanager
async def node_parts(folder: Path, *, volume_bytes: int = 1 << 20) -> AsyncIterator[Parts]:
    disk = OsDisk(folder)
    store = VolumeStore(disk, BlobIndex(RocksMap(folder / "index")), volume_bytes=volume_bytes)
    log = MemoryLog("test", lambda: 1)
    await log.create_topics(spec.ALL)
    consumer = WritesConsumer(log, store, GROUP)
    running = asyncio.create_task(consumer.run())
    try:
        yield Parts(folder, log, store, consumer)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        store.close()
        disk.close()


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
    """The node itself ("local") or by way of its HTTP API ("remote")."""
    local = LocalNode(parts.store, parts.consumer)
    if kind == "local":
        yield local
        return
    async with served(create_node_app(local, SECRET)) as endpoint, RemoteNode(endpoint, SECRET) as remote:
        yield remote
