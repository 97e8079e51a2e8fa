"""What makes a process part of a cluster: its log, the secret that all share, how others reach it; `bucketlog topics`."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from bucketlog.health import Health, health_routes
from bucketlog.settings import Settings
from topics import spec
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import KafkaConfig
from topics.log import LogError
from topics.secret import ClusterSecret

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


def with_health(app: ASGIApp, metrics: Route, health: Health) -> ASGIApp:
    return Starlette(routes=[*health_routes(health), metrics, Mount("/", app)])


def endpoint_of(settings: Settings) -> str:
    return settings.advertise or f"http://{settings.host}:{settings.port}"


def tell(settings: Settings, role: str) -> None:
    print(f"bucketlog {role} at {endpoint_of(settings)}, log at {settings.kafka}", flush=True)
