"""Bounded reads of one partition: a consumer with an explicit offset, in a thread while it waits. No groups, no commits."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from topics.kafka.config import REQUEST_S, KafkaConfig
from topics.kafka.message import PASSING, failure, failure_of, record_of
from topics.log import LogError, OffsetTrimmed, Record

BATCH_RECORDS = 1_000
AGAIN_S = 0.05
P = ParamSpec("P")
T = TypeVar("T")


class KafkaReader:
    """One consumer, used by one reader at a time, with a thread of its own."""

    def __init__(self, config: KafkaConfig) -> None:
        self._consumer = Consumer(config.consumer())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka reader")

    async def read(self, topic: str, partition: int, offset: int, records_max: int) -> list[Record]:
        """Records from `offset` to the end that the partition has now. Raises `OffsetTrimmed`, `LogError`."""
        return await self._in_thread(self._read, topic, partition, offset, records_max)

    async def watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        """(earliest, latest) offset, from the partition's leader."""
        return await self._in_thread(self._watermarks, topic, partition)

    async def close(self) -> None:
        await self._in_thread(self._consumer.close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args, **kwargs))

    def _watermarks(self, topic: str, partition: int) -> tuple[int, int]:
        deadline = time.monotonic() + REQUEST_S
        while True:
            try:
                found = self._consumer.get_watermark_offsets(KafkaPartition(topic, partition), timeout=REQUEST_S)
            except KafkaException as error:
                if error.args[0].code() not in PASSING or time.monotonic() > deadline:
                    raise failure(f"offsets of {topic}:{partition} cannot be had", error.args[0]) from error
                time.sleep(AGAIN_S)
                continue
            if found is None:
                raise LogError(f"offsets of {topic}:{partition} cannot be had: no broker answered in time")
            return found

    def _read(self, topic: str, partition: int, offset: int, records_max: int) -> list[Record]:
        earliest, latest = self._watermarks(topic, partition)
        if offset < earliest:
            raise OffsetTrimmed(f"{topic}:{partition} starts at {earliest}, not {offset}")
        if offset >= latest:
            return []
        self._assign(topic, partition, offset)
        found: list[Record] = []
        is_end = False
        while not is_end and len(found) < records_max and (not found or found[-1].offset + 1 < latest):
            messages = self._next_messages(REQUEST_S)
            if not messages:
                raise LogError(f"{topic}:{partition} cannot be read: no broker answered in time")
            records, is_end = _records(messages)
            found += records
        self._consumer.unassign()
        return found[:records_max]

    def _assign(self, topic: str, partition: int, offset: int) -> None:
        self._consumer.assign([KafkaPartition(topic, partition, offset)])

    def _next_messages(self, wait_s: float) -> list[Message]:
        """What is there: `consume` with a time would wait until it has all that it may take."""
        first = self._consumer.poll(wait_s)
        return [] if first is None else [first, *self._consumer.consume(BATCH_RECORDS, 0)]


def _records(messages: list[Message]) -> tuple[list[Record], bool]:
    """The records among messages and events, and whether the end of the partition was among them."""
    records, is_end = [], False
    for message in messages:
        error = message.error()
        if error is None:
            records.append(record_of(message))
        elif error.code() == KafkaError._PARTITION_EOF:
            is_end = True
        elif (failed := failure_of(message)) is not None:
            raise failed
    return records, is_end
