"""Follows many partitions with one consumer and one thread, each to its own follower, from an explicit offset.

A follower that does not take what came has its partition paused, so that it holds up nobody else.
Errors: an exception in the thread ends it and all that follow with a `LogError`, and `failed` tells so.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncGenerator, Sequence

from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from topics.kafka.config import KafkaConfig
from topics.kafka.message import failure_by, failure_of, record_of
from topics.log import LogError, Record

BATCH_RECORDS = 1_000
WAIT_S = 0.02  # also how long a new follower may wait for its start
LOOK_S = 1.0
PAUSE_BYTES, RESUME_BYTES = 8 << 20, 2 << 20  # that a follower has not taken
_SETTINGS = {"enable.partition.eof": False, "fetch.wait.max.ms": 50}  # a new partition waits for the fetch under way


class _Follower:
    """What came for one partition. `posted` is the thread's, `taken` the loop's: neither needs a lock."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.error: LogError | None = None
        self.has_news = asyncio.Event()
        self.posted_bytes = 0
        self.taken_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        return self.posted_bytes - self.taken_bytes


Key = tuple[str, int]  # topic, partition
News = dict[Key, tuple[_Follower, list[Record], LogError | None]]


class Fetcher:
    def __init__(self, config: KafkaConfig) -> None:
        self._consumer = Consumer(config.consumer() | _SETTINGS)
        self._loop = asyncio.get_running_loop()
        self.failed: LogError | None = None  # why its thread ended
        self._followed: dict[Key, _Follower] = {}  # as the loop has it
        self._changes: deque[tuple[Key, _Follower, int | None]] = deque()  # the thread is to start at an offset, or end
        self._followers: dict[Key, _Follower] = {}  # as the thread has it
        self._paused: set[Key] = set()
        self._known: set[str] = set()  # topics whose leaders were asked for
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._fetch, name="kafka fetcher", daemon=True)
        self._thread.start()

    def follows(self, topic: str, partition: int) -> bool:
        return (topic, partition) in self._followed

    async def follow(self, topic: str, partition: int, offset: int) -> AsyncGenerator[list[Record], None]:
        """One at a time of a partition. Raises `OffsetTrimmed`, `LogError`."""
        key = (topic, partition)
        assert key not in self._followed
        if self.failed is not None:
            raise self.failed
        follower = self._followed[key] = _Follower()
        self._changes.append((key, follower, offset))
        try:
            while True:
                await follower.has_news.wait()
                follower.has_news.clear()
                batch, follower.records = follower.records, []
                if batch:
                    follower.taken_bytes += _size(batch)
                    yield batch
                elif follower.error is not None:
                    raise follower.error
        finally:
            del self._followed[key]
            self._changes.append((key, follower, None))

    async def close(self) -> None:
        self._stopping.set()
        await self._loop.run_in_executor(None, self._thread.join)
        await self._loop.run_in_executor(None, self._consumer.close)

    def _fetch(self) -> None:
        """The only one that calls the consumer: librdkafka was seen to block a call beside a poll."""
        try:
            while not self._stopping.is_set():
                while self._changes:
                    self._change(*self._changes.popleft())
                self._resume()
                first = self._consumer.poll(WAIT_S)
                if first is not None:
                    news = self._sorted([first, *self._consumer.consume(BATCH_RECORDS, 0)])
                    self._loop.call_soon_threadsafe(_tell, news)
                    self._pause(news)
        except Exception as error:  # noqa: BLE001 - whatever it is, who follows must hear of it
            self._loop.call_soon_threadsafe(self._end, failure_by("the log cannot be followed", error))

    def _end(self, failed: LogError) -> None:
        """All followers end; who follows next needs another fetcher."""
        self.failed = failed
        for follower in self._followed.values():
            follower.error = follower.error or failed
            follower.has_news.set()

    def _change(self, key: Key, follower: _Follower, offset: int | None) -> None:
        if offset is not None:
            self._followers[key] = follower
            if key[0] not in self._known:  # librdkafka itself looks for leaders by a timer of 1 s
                self._known.add(key[0])
                with contextlib.suppress(KafkaException):
                    self._consumer.list_topics(key[0], LOOK_S)
            self._consumer.incremental_assign([KafkaPartition(*key, offset)])
        else:
            del self._followers[key]
            self._paused.discard(key)
            self._consumer.incremental_unassign([KafkaPartition(*key)])

    def _sorted(self, messages: Sequence[Message]) -> News:
        news: News = {}
        for message in messages:
            key = (message.topic() or "", message.partition() or 0)
            follower = self._followers.get(key)
            if follower is None:
                continue  # it went meanwhile, or this tells of a broker
            _, records, error = news.get(key) or (follower, [], None)
            if message.error() is None:
                records.append(record_of(message))
            else:
                error = error or failure_of(message)
            news[key] = (follower, records, error)
        return news

    def _pause(self, news: News) -> None:
        for key, (follower, records, _) in news.items():
            follower.posted_bytes += _size(records)
            if follower.waiting_bytes > PAUSE_BYTES and key not in self._paused:
                self._paused.add(key)
                self._consumer.pause([KafkaPartition(*key)])

    def _resume(self) -> None:
        for key in list(self._paused):
            if self._followers[key].waiting_bytes <= RESUME_BYTES:
                self._paused.discard(key)
                self._consumer.resume([KafkaPartition(*key)])


def _tell(news: News) -> None:
    for follower, records, error in news.values():
        follower.records += records
        follower.error = follower.error or error
        if records or error is not None:
            follower.has_news.set()


def _size(records: Sequence[Record]) -> int:
    return sum(len(each.key) + len(each.value) for each in records)
