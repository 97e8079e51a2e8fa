"""The role of a gateway: S3 in, commands and payloads out. It keeps nothing."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from bucketlog import credentials
from bucketlog.clock import boot_s, now_ms
from bucketlog.front import create_front
from bucketlog.health import Health
from bucketlog.heard import Heartbeats
from bucketlog.metrics.composed import of_gateway
from bucketlog.progress import partitions
from bucketlog.roles.cluster import cluster_secret, opened_log, tell
from bucketlog.server import Service
from bucketlog.settings import Settings
from bucketlog.status import Known
from bucketlog.work import Work
from datanode.client import Blobs
from datanode.placement import PlacementMap
from datanode.remote import RemoteNodes
from datanode.routing import has_quorum
from gateway import open_reads
from gateway.context import Gateway
from gateway.open_reads import OpenReads
from gateway.submit import Commander, listen
from processors.remote import RemoteReads
from topics import replies, spec
from topics.placement import Placement
from topics.spec import TopicPartition


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[Service]:
    """Raises `ValueError` where it has no keys."""
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
        listening = listen(log, TopicPartition("replies", own), start, commander, address)
        heartbeats = Heartbeats(secret)
        work = Work()
        work.start("replies", listening)
        work.start("map of data nodes", known.run(log))
        work.start("heartbeats", heartbeats.run(log))
        reading = OpenReads(settings.read_max_s, boot_s, needs_lease=True)
        work.start("marks of owners", open_reads.follow(log, reading))
        work.start("reads", open_reads.say(log, address, reading, boot_s))
        stack.push_async_callback(work.end)
        tell(settings, "gateway")
        made = Gateway(
            reads,
            Blobs(log, known, nodes, durable=True, cache_bytes=settings.cache_bytes),
            commander,
            root,
            settings.region,
            settings.domain,
            settings.signature_v2,
            logs_access=settings.access_log,
            account=settings.account_id,
            open_reads=reading,
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
