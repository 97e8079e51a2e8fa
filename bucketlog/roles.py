"""The roles of a cluster, each a process of its own on Apache Kafka: gateway, processor, data node.

A role is a context that gives its HTTP service. It waits for the broker where there is none yet, and says so.
"""

import asyncio
import logging
import random
import socket
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from bucketlog import credentials, identity
from bucketlog.folder import DataFolder
from bucketlog.front import create_front
from bucketlog.health import Health, health_routes
from bucketlog.heard import Heartbeats
from bucketlog.metrics.collectors import ClusterMetrics
from bucketlog.metrics.composed import of_data_node, of_gateway, of_processor
from bucketlog.progress import partitions
from bucketlog.server import Service
from bucketlog.settings import Settings
from bucketlog.status import Known
from bucketlog.store import now_ms, times
from bucketlog.work import Work, may_be_mended
from datanode.api import create_node_app
from datanode.client import Blobs
from datanode.heartbeat import Heart, Said
from datanode.index import BlobIndex
from datanode.placement import PlacementMap
from datanode.remote import RemoteNodes
from datanode.routing import has_quorum
from datanode.service import NodeService
from datanode.store import VolumeStore
from gateway.context import Gateway
from gateway.submit import Commander
from processors.housekeeping import keep_house
from processors.leases import Leases
from processors.machine import tables
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
from topics.log import LogError, UnknownRecord, decoded
from topics.owners import LEASE_S
from topics.placement import Placement
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
    root, _ = credentials.load(settings, [settings.data])
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
        heartbeats = Heartbeats(secret)
        work = Work()
        work.start("replies", listening)
        work.start("map of data nodes", known.run(log))
        work.start("heartbeats", heartbeats.run(log))
        stack.push_async_callback(work.end)
        _tell(settings, "gateway")
        made = Gateway(
            reads,
            Blobs(log, known, nodes, durable=True),
            commander,
            root,
            settings.region,
            settings.domain,
            logs_access=settings.access_log,
        )
        state = Known(lambda: known.current, heartbeats.heard, lambda: partitions(log, reads))
        stopping: list[str] = []

        async def drain() -> None:
            stopping.append("it stops")
            await asyncio.sleep(settings.drain_s)

        def unready() -> list[str]:
            return [*stopping, *work.ended(), *reads.unready(), *_unwritable(known.current)]

        health = Health(work.needs_restart, unready)
        yield Service(create_front(made, log, state, of_gateway(settings, log, made), health), drain)


def _unwritable(placement: Placement) -> list[str]:
    return [] if has_quorum(placement) else ["no replication group has a quorum of data nodes that are up"]


async def _listen(log: KafkaLog, at: TopicPartition, start: int, commander: Commander, address: str) -> None:
    async for batch in log.follow(at, start):
        for record in batch:
            if record.key == address.encode():
                try:
                    commander.send(address, decoded(at, record, replies.decode))
                except UnknownRecord as error:  # one request runs into its deadline, as with a reply that is lost
                    log_.error("a reply is lost: %s", error)


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

        def judged() -> Placement | None:
            return tables.placement(ownership.views[spec.CONTROL_PARTITION]) if judges.is_judging else None

        work = Work()
        work.start("leases", leases.run())
        work.start("housekeeping", keep_house(log, lambda: ownership.runtimes, now_ms, settings.release_after_s))
        work.start("map of data nodes", publish_placement(log, control))
        group = OwnerGroup(kafka_config(settings), endpoint_of(settings), ownership)
        ownership.start()
        group.start()
        work.start("judging", judges.run())
        _tell(settings, "processor")

        async def hand_over() -> None:
            await asyncio.gather(group.stop(), judges.stop())
            await ownership.hand_over()

        reads = create_read_service(ownership.views, leases.is_held, secret, decided=ownership.decided)
        metrics = of_processor(settings, log, ownership, leases, ClusterMetrics(judged, judges.behind))
        yield Service(_with_health(reads, metrics, _processor_health(work, ownership, leases)), hand_over)
        await ownership.close()
        await work.end()
    folder.close()


def _processor_health(work: Work, ownership: Ownership, leases: Leases) -> Health:
    def needs_restart() -> list[str]:
        stopped = [number for number, error in ownership.stopped.items() if may_be_mended(error)]
        return [*work.needs_restart(), *(f"partition {number} stopped" for number in stopped)]

    def unready() -> list[str]:
        silent = [] if leases.is_heard else [f"nothing that was said here reached the log for {LEASE_S:g} s"]
        return [*work.ended(), *ownership.unready(), *silent]

    return Health(needs_restart, unready)


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
        said = Said(endpoint_of(settings), settings.failure_domain or own.name, disk.total_bytes())
        heart, work = Heart(log, service, said, secret, now_ms), Work()
        work.start("map of data nodes", known.run(log))
        serving = work.start(f"data node {own.name}", service.run())
        work.start("heartbeats", heart.run())
        _tell(settings, f"data node {own.name}")
        app = create_node_app(service.node, secret)
        metrics = of_data_node(settings, log, service)
        health = Health(work.needs_restart, lambda: [*work.ended(), *service.member.unready(), *heart.unready()])
        yield Service(_with_health(app, metrics, health), must_run=serving)
        await work.end()
        await service.settle()
        store.close()
        disk.close()
    folder.close()


def _with_health(app: ASGIApp, metrics: Route, health: Health) -> ASGIApp:
    return Starlette(routes=[*health_routes(health), metrics, Mount("/", app)])


def endpoint_of(settings: Settings) -> str:
    return settings.advertise or f"http://{settings.host}:{settings.port}"


def _tell(settings: Settings, role: str) -> None:
    print(f"bucketlog {role} at {endpoint_of(settings)}, log at {settings.kafka}", flush=True)


def _boot_time() -> float:
    """Goes on while the machine sleeps, and is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
