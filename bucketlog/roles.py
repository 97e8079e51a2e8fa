"""The roles of a cluster, each a process of its own on Apache Kafka: gateway, processor, data node.

A role is a context that gives its HTTP service. It waits for the broker where there is none yet, and says so.
"""

import asyncio
import logging
import random
import socket
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from bucketlog import credentials, identity
from bucketlog.events import create_events_app
from bucketlog.folder import DataFolder
from bucketlog.server import Service
from bucketlog.settings import Settings
from bucketlog.store import now_ms, report
from datanode.api import create_node_app
from datanode.client import Blobs
from datanode.heartbeat import Said, beat
from datanode.index import BlobIndex
from datanode.placement import PlacementMap
from datanode.remote import RemoteNodes
from datanode.service import NodeService, Times
from datanode.store import VolumeStore
from gateway.app import create_app
from gateway.context import Gateway
from gateway.submit import Commander
from processors.housekeeping import keep_house
from processors.leases import Leases
from processors.ownership import Ownership
from processors.placement import publish_placement
from processors.remote import RemoteReads
from processors.replies import LogReplies
from processors.service import create_read_service
from processors.view import View
from topics import replies, spec
from topics.disk import OsDisk
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import KafkaConfig
from topics.kafka.group import OwnerGroup
from topics.log import LogError, decoded
from topics.rocksdb import RocksMap
from topics.secret import ClusterSecret
from topics.sender import CommandSender
from topics.spec import TopicPartition

BROKER_AGAIN_S = 1.0
log_ = logging.getLogger(__name__)


def kafka_config(settings: Settings) -> KafkaConfig:
    """Raises `ValueError` where no broker is named."""
    if not settings.kafka:
        raise ValueError("name a Kafka cluster: BUCKETLOG_KAFKA=host:port[,…]")
    return KafkaConfig(
        settings.kafka,
        settings.kafka_prefix,
        settings.kafka_replication,
        settings.kafka_min_in_sync,
        {name: value.get_secret_value() for name, value in settings.kafka_settings.items()},
    )


@asynccontextmanager
async def opened_log(settings: Settings) -> AsyncIterator[KafkaLog]:
    """The log with its topics, once a broker answers. Raises `LogError` for topics that cannot be used."""
    config = kafka_config(settings)
    while True:
        try:
            log = await KafkaLog.open(config)
            break
        except LogError as error:
            log_.warning("waiting for Kafka at %s: %s", settings.kafka, error)
            await asyncio.sleep(BROKER_AGAIN_S)
    try:
        await log.create_topics(spec.CLUSTER)
        yield log
    finally:
        await log.close()


async def topics(settings: Settings, *, create: bool) -> str:
    """A table of the topics. Raises `LogError` where one is missing or has another number of partitions."""
    log = await KafkaLog.open(kafka_config(settings))
    try:
        if create:
            await log.create_topics(spec.CLUSTER)
        rows = [f"{each.topic:24} {each.partitions:>10} {each.in_sync:>9}  {each.id}" for each in log.describe()]
    finally:
        await log.close()
    if not rows:
        raise LogError("there are no topics of bucketlog here; make them: bucketlog topics create")
    return "\n".join([f"{'topic':24} {'partitions':>10} {'in sync':>9}  id", *rows])


def cluster_secret(settings: Settings) -> ClusterSecret:
    return ClusterSecret(settings.cluster_secret.get_secret_value().encode())


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[Service]:
    """Stateless: S3 in, commands and payloads out."""
    secret = cluster_secret(settings)
    if not (settings.access_key_id and settings.secret_access_key.get_secret_value()):
        raise ValueError("set BUCKETLOG_ACCESS_KEY_ID and BUCKETLOG_SECRET_ACCESS_KEY, the same at every gateway")
    root, _ = credentials.load(settings, settings.data)
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(opened_log(settings))
        nodes = await stack.enter_async_context(RemoteNodes(secret))
        reads = await stack.enter_async_context(RemoteReads(log, secret))
        known = PlacementMap()
        own = random.randrange(spec.REPLIES.partitions)  # noqa: S311 - spreads gateways over partitions
        address = replies.address(own, uuid.uuid4().hex)
        commander = Commander(log, address, now_ms, durable=True)
        start = await log.latest(TopicPartition("replies", own))
        listening = _listen(log, TopicPartition("replies", own), start, commander, address)
        tasks = _run(replies=listening, placement=known.run(log))
        stack.push_async_callback(_end, tasks)
        _tell(settings, "gateway")
        made = Gateway(reads, Blobs(log, known, nodes, durable=True), commander, root, settings.region, settings.domain)
        app = create_app(made, lambda: reads.is_ready and known.current.epoch > 0 and _run_on(tasks))
        yield Service(create_events_app(app, log, root))


async def _listen(log: KafkaLog, at: TopicPartition, start: int, commander: Commander, address: str) -> None:
    async for batch in log.follow(at, start):
        for record in batch:
            if record.key == address.encode():
                commander.send(address, decoded(at, record, replies.decode))


@asynccontextmanager
async def processor(settings: Settings) -> AsyncIterator[Service]:
    """Owns partitions: decides their commands, answers what is asked of their views; judges data nodes."""
    from bucketlog.judging import faust_config, judging  # noqa: PLC0415 - gateways and data nodes need no Faust

    secret, owner = cluster_secret(settings), uuid.uuid4().hex
    faust = faust_config(kafka_config(settings), endpoint_of(settings))
    folder = DataFolder(settings.data)
    async with opened_log(settings) as log:
        leases = Leases(log, owner, endpoint_of(settings), _boot_time)
        ownership = Ownership(
            log, lambda number: RocksMap(folder.path / "view" / f"{number:04}"), owner, leases, LogReplies(log)
        )

        def control() -> View | None:
            runtime = ownership.runtimes.get(spec.CONTROL_PARTITION)
            return None if runtime is None else runtime.view

        judges = judging(settings, faust, log, secret, ownership)
        tasks = _run(
            leases=leases.run(),
            housekeeping=keep_house(log, lambda: ownership.runtimes, now_ms, settings.release_after_s),
            placement=publish_placement(log, control),
        )
        group = OwnerGroup(kafka_config(settings), endpoint_of(settings), ownership)
        ownership.start()
        group.start()
        tasks += _run(judging=judges.run())
        _tell(settings, "processor")

        async def hand_over() -> None:
            await asyncio.gather(group.stop(), judges.stop())
            await ownership.hand_over()

        reads = create_read_service(ownership.views, leases.is_held, secret)
        yield Service(_with_health(reads, lambda: _run_on(tasks)), hand_over)
        await ownership.close()
        await _end(tasks)
    folder.close()


@asynccontextmanager
async def datanode(settings: Settings) -> AsyncIterator[Service]:
    """Volumes: follows the `writes` of its groups, takes large payloads and forwards them, gives bytes, mends itself."""
    secret = cluster_secret(settings)
    folder = DataFolder(settings.data)
    async with opened_log(settings) as log, RemoteNodes(secret) as nodes:
        own = identity.load(folder.path, settings.node or socket.gethostname(), log.identity)
        disk, known = OsDisk(folder.path), PlacementMap()
        store = VolumeStore(disk, BlobIndex(RocksMap(folder.path / "index")))
        service = NodeService(own, log, store, known, nodes, CommandSender(log, now_ms), now_ms, times(settings))
        said = Said(endpoint_of(settings), settings.failure_domain or own.name, disk.capacity_bytes())
        tasks = _run(
            placement=known.run(log),
            **{"data node": service.run()},
            heartbeats=beat(log, service, said, secret, now_ms),
        )
        _tell(settings, f"data node {own.name}")
        app = create_node_app(service.node, secret)
        yield Service(_with_health(app, lambda: service.member.is_ready and _run_on(tasks)))
        await _end(tasks)
        await service.settle()
        store.close()
        disk.close()
    folder.close()


def times(settings: Settings) -> Times:
    return Times(settings.orphan_after_s, settings.sweep_pace_s, settings.copy_bytes_per_s)


def _run(**work: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    """Tasks for as long as the role lives; one that ends is told of."""
    tasks = [asyncio.create_task(each, name=name) for name, each in work.items()]
    for task in tasks:
        task.add_done_callback(report)
    return tasks


def _run_on(tasks: Iterable[asyncio.Task[None]]) -> bool:
    return not any(task.done() for task in tasks)


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _with_health(app: ASGIApp, is_ready: Callable[[], bool]) -> ASGIApp:
    async def healthz(_: object) -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    async def readyz(_: object) -> PlainTextResponse:
        return PlainTextResponse("ready\n") if is_ready() else PlainTextResponse("not ready\n", 503)

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Mount("/", app)])


def endpoint_of(settings: Settings) -> str:
    return settings.advertise or f"http://{settings.host}:{settings.port}"


def _tell(settings: Settings, role: str) -> None:
    print(f"bucketlog {role} at {endpoint_of(settings)}, log at {settings.kafka}", flush=True)


def _boot_time() -> float:
    """Goes on while the machine sleeps, and is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
