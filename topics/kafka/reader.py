"""Bounded reads of one partition: a consumer with an explicit offset, in a thread while it waits. No groups, no commits."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from topics.kafka.config import REQUEST_S, KafkaConfig
from topics.kafka.message import failure_by, failure_of, record_of
from topics.log import LogError, Record

BATCH_RECORDS = 1_000
P = ParamSpec("P")
T = TypeVar("T")


class KafkaReader:
    """One consumer, used by one reader at a time, with a thread of its own."""

    def __init__(self, config: KafkaConfig) -> None:
        self._consumer = Consumer(config.consumer())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka reader")

    async def read(self, topic: str, partition: int, offset: int, below: int, records_max: int) -> list[Record]:
        """Records from `offset` on, of those below `below`, which are there. Raises `OffsetTrimmed`, `LogError`."""
        try:
            return await self._in_thread(self._read, topic, partition, offset, below, records_max)
        except KafkaException as error:
            raise failure_by(f"{topic}:{partition} cannot be read", error) from error

    async def close(self) -> None:
        await self._in_thread(self._consumer.close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args, **kwargs))

    def _read(self, topic: str, partition: int, offset: int, below: int, records_max: int) -> list[Record]:
        self._assign(topic, partition, offset)
        found: list[Record] = []
        is_end = False
        while not is_end and len(found) < records_max and (not found or found[-1].offset + 1 < below):
            messages = self._next_messages(REQUEST_S)
            if not messages:
                raise LogError(f"{topic}:{partition} cannot be read: no broker answered in time")
            records, is_end = _records(messages, below)
            found += records
        self._consumer.unassign()
        return found[:records_max]

    def _assign(self, topic: str, partition: int, offset: int) -> None:
        self._consumer.assign([KafkaPartition(topic, partition, offset)])

    def _next_messages(self, wait_s: float) -> list[Message]:
        """What is there: `consume` with a time would wait until it has all that it may take."""
        first = self._consumer.poll(wait_s)
        return [] if first is None else [first, *self._consumer.consume(BATCH_RECORDS, 0)]


def _records(messages: list[Message], below: int) -> tuple[list[Record], bool]:
    """The records among messages and events, and whether the end of what was asked for was among them."""
    records, is_end = [], False
    for message in messages:
        error = message.error()
        if error is None:
            records.append(record_of(message))
        elif error.code() == KafkaError._PARTITION_EOF:
            is_end = (message.offset() or 0) >= below  # a new leader may not show all of it yet
        elif (failed := failure_of(message)) is not None:
            raise failed
    return records, is_end
