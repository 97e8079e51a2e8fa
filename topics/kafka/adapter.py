"""`KafkaLog`: the `Log` port on Apache Kafka. Every append waits for all in-sync replicas, so it is durable as far as the
cluster's settings make it: run it with replication 3 and min.insync.replicas 2.

The log's identity is made of the topics' ids, which Kafka mints when a topic is created: a topic made anew is another log.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions, NewTopic

from topics.kafka.config import RECORD_BYTES_MAX, REQUEST_S, KafkaConfig
from topics.kafka.fetcher import Fetcher
from topics.kafka.message import REFUSALS, failure
from topics.kafka.offsets import watermarks
from topics.kafka.producer import KafkaProducer
from topics.kafka.reader import KafkaReader
from topics.log import Entry, LogError, OffsetTrimmed, Record, check_size
from topics.spec import CLUSTER, TopicPartition, TopicSpec

_IDENTIFYING = ("commands", "events")  # what a view was folded from, and what its causes are offsets of
LOOK_AGAIN_S = 0.05
REFUSED_S = 1.0  # that another broker has to let a client in
COMPACT_AFTER_MS = 60_000  # a start reads what came since: a minute of heartbeats
READERS_KEPT = 4  # idle consumers kept for the next read


class Found(NamedTuple):
    topic: str
    partitions: int
    in_sync: int  # replicas, of the partition that has fewest
    id: str


class KafkaLog:
    repeats = True  # see `producer`

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._admin = AdminClient(config.client() | {"error_cb": self._on_error})
        self._refused: KafkaError | None = None
        self._producer: KafkaProducer | None = None  # made by who appends: a broker lets nobody have one who may not write
        self._idle: list[KafkaReader] = []
        self._fetchers: list[Fetcher] = []
        self._counts: dict[str, int] = {}
        self._found: dict[str, Found] = {}
        self.identity = ""

    @classmethod
    async def open(cls, config: KafkaConfig) -> "KafkaLog":
        """Raises `LogError` where no broker answers, or none lets this client in."""
        log = cls(config)
        looking = asyncio.create_task(log._look(CLUSTER))
        try:
            await log._unless_refused(looking)
            return log
        except BaseException:
            looking.cancel()
            await log.close()
            raise

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        await self._look(specs)
        for spec in specs:
            have = self._counts.get(spec.name, spec.partitions)
            if spec.grows and have < spec.partitions:
                await self._grow(spec)
            elif have != spec.partitions:
                raise LogError(
                    f"topic {self._name(spec.name)} has {self._counts[spec.name]} partitions, not {spec.partitions}; "
                    "a bucket's events would move between partitions: undo the change from a copy"
                )
        missing = [self._new_topic(spec) for spec in specs if spec.name not in self._counts]
        if missing:
            for future in self._admin.create_topics(missing, operation_timeout=REQUEST_S).values():
                await _unless(KafkaError.TOPIC_ALREADY_EXISTS, future, "topics cannot be created")
        async with asyncio.timeout(REQUEST_S):
            while any(self._counts.get(spec.name) != spec.partitions for spec in specs):
                await asyncio.sleep(LOOK_AGAIN_S)  # brokers hear of it one after another
                await self._look(specs)

    def describe(self) -> list[Found]:
        """Each topic that there was when the log was opened, or is since."""
        return sorted(self._found.values())

    async def append(self, at: TopicPartition, entries: Sequence[Entry], *, durable: bool) -> list[int]:
        del durable  # each append waits for the replicas
        check_size(entries)
        self._check(at)
        if not entries:
            return []
        return await (await self._working_producer()).append(self._name(at.topic), at.partition, entries)

    async def read(self, at: TopicPartition, offset: int, *, records_max: int = 1_000) -> list[Record]:
        earliest, latest = await self._watermarks(at)
        if offset < earliest:
            raise OffsetTrimmed(f"{at.topic}:{at.partition} starts at {earliest}, not {offset}")
        if offset >= latest:
            return []
        reader = self._idle.pop() if self._idle else KafkaReader(self._config)
        try:
            found = await reader.read(self._name(at.topic), at.partition, offset, latest, records_max)
        except BaseException:
            await reader.close()  # the next read has a new one
            raise
        await self._give_back(reader)
        return found

    async def follow(self, at: TopicPartition, offset: int) -> AsyncIterator[list[Record]]:
        self._check(at)
        name = self._name(at.topic)
        for each in [each for each in self._fetchers if each.failed is not None]:
            self._fetchers.remove(each)
            await each.close()
        free = [each for each in self._fetchers if not each.follows(name, at.partition)]
        if not free:
            free = [Fetcher(self._config)]
            self._fetchers += free
        async with aclosing(free[0].follow(name, at.partition, offset)) as batches:
            async for batch in batches:
                yield batch

    async def earliest(self, at: TopicPartition) -> int:
        return (await self._watermarks(at))[0]

    async def latest(self, at: TopicPartition) -> int:
        return (await self._watermarks(at))[1]

    async def trim(self, at: TopicPartition, before: int) -> None:
        earliest, latest = await self._watermarks(at)
        if earliest < (end := min(before, latest)):
            asked = [KafkaPartition(self._name(at.topic), at.partition, end)]
            for future in self._admin.delete_records(asked, operation_timeout=REQUEST_S).values():
                await _unless(KafkaError.NO_ERROR, future, f"{at.topic}:{at.partition} cannot be trimmed")

    async def close(self) -> None:
        if self._producer is not None:
            await self._producer.close()
        for reader in self._idle:
            await reader.close()
        for fetcher in self._fetchers:
            await fetcher.close()

    async def _working_producer(self) -> KafkaProducer:
        if self._producer is not None and self._producer.fatal is not None:
            failed, self._producer = self._producer, None
            await failed.close()
        if self._producer is None:
            self._producer = KafkaProducer(self._config)
        return self._producer

    async def _watermarks(self, at: TopicPartition) -> tuple[int, int]:
        self._check(at)
        return await watermarks(self._admin, self._name(at.topic), at.partition)

    async def _give_back(self, reader: KafkaReader) -> None:
        if len(self._idle) < READERS_KEPT:
            self._idle.append(reader)
        else:
            await reader.close()

    async def _look(self, specs: Sequence[TopicSpec]) -> None:
        """Which of these topics there are, with how many partitions; and the identity."""
        names = {self._name(spec.name): spec.name for spec in (*CLUSTER, *specs)}
        asked = self._admin.describe_topics(TopicCollection(list(names)), request_timeout=REQUEST_S)
        for name, future in asked.items():
            found = await _unless(KafkaError.UNKNOWN_TOPIC_OR_PART, future, f"topic {name} cannot be described")
            if found is not None:
                self._counts[names[name]] = len(found.partitions)
                in_sync = min(len(each.isr) for each in found.partitions)
                self._found[name] = Found(name, len(found.partitions), in_sync, str(found.topic_id))
        identifying = [self._name(topic) for topic in _IDENTIFYING]  # one that a broker does not show now is still there
        self.identity = "+".join(self._found[name].id for name in identifying if name in self._found)

    async def _grow(self, spec: TopicSpec) -> None:
        asked = [NewPartitions(self._name(spec.name), spec.partitions)]
        for future in self._admin.create_partitions(asked, operation_timeout=REQUEST_S).values():
            await _unless(KafkaError.INVALID_PARTITIONS, future, f"partitions cannot be added to topic {spec.name}")
        known, self._producer = self._producer, None  # the next one asks which partitions there are
        if known is not None:
            await known.close()

    async def _unless_refused(self, looking: "asyncio.Task[None]") -> None:
        """A refusal is told beside what was asked, which only runs into its time."""
        while self._refused is None and not looking.done():
            await asyncio.wait({looking}, timeout=LOOK_AGAIN_S)
            self._admin.poll(0)
        if self._refused is not None:
            await asyncio.wait({looking}, timeout=REFUSED_S)
        if self._refused is not None and (not looking.done() or looking.exception() is not None):
            raise failure("Kafka does not let this client in", self._refused)
        looking.result()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in REFUSALS:
            self._refused = error

    def _new_topic(self, spec: TopicSpec) -> NewTopic:
        settings = {
            "min.insync.replicas": str(self._config.min_in_sync),
            "max.message.bytes": str(RECORD_BYTES_MAX),
            "message.timestamp.type": "LogAppendTime",
            "cleanup.policy": "compact" if spec.is_compacted else "delete",
            "retention.ms": str(spec.retention_ms),  # else consumers trim what they have taken; events stay
            "retention.bytes": "-1",
            "unclean.leader.election.enable": "false",
        }
        if spec.is_compacted:
            settings["segment.ms"] = str(COMPACT_AFTER_MS)  # Kafka compacts only what is behind the last segment
        return NewTopic(self._name(spec.name), spec.partitions, self._config.replication, config=settings)

    def _name(self, topic: str) -> str:
        return f"{self._config.prefix}{topic}"

    def _check(self, at: TopicPartition) -> None:
        if not 0 <= at.partition < self._counts.get(at.topic, 0):
            raise LogError(f"no partition {self._name(at.topic)}:{at.partition}; create the topic first")


async def _unless(accepted: int, future: "Future[Any]", what: str) -> Any:
    """The future's result, or None for the error that is accepted. Raises `LogError`."""
    try:
        return await asyncio.wrap_future(future)
    except KafkaException as error:
        if error.args[0].code() == accepted:
            return None
        raise failure(what, error.args[0]) from error
