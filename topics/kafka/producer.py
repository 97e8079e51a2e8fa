"""Appends: entries in, offsets out when every in-sync replica has them. One poll thread a client.

An append fails whole, though a part of it may be in the log; the reader's rule makes that harmless. Some failures are
a producer's last (`fatal`), such as the lack of every right to write: it fails all appends, and another has to be made.

Idempotence keeps what librdkafka sends again from being there twice only within an epoch of the producer. A batch that
failed or ran into its time, on any partition, makes it begin another one; what it sends again behind that is new to the
brokers, though they may have it. (Its INTRODUCTION, "Idempotent Producer"; seen when brokers were killed.)
"""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from topics.kafka.config import KafkaConfig
from topics.kafka.message import failure
from topics.log import Entry, LogError

POLL_S = 0.1
UNKNOWN_OFFSET = -1


class _Append:
    """What one call waits for."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.offsets = [UNKNOWN_OFFSET] * count
        self.remaining = count
        self.error: KafkaError | None = None
        self.future: asyncio.Future[list[int]] = loop.create_future()


class KafkaProducer:
    def __init__(self, config: KafkaConfig) -> None:
        self._producer = Producer(config.producer())
        self.fatal: KafkaError | None = None
        self._loop = asyncio.get_running_loop()
        self._waiting: set[_Append] = set()  # as the loop has it
        self._finished: list[_Append] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka producer", daemon=True)
        self._thread.start()

    async def append(self, topic: str, partition: int, entries: Sequence[Entry]) -> list[int]:
        """Raises `LogError`."""
        if not entries:
            return []
        waiting = _Append(len(entries), self._loop)
        for place, entry in enumerate(entries):
            try:
                self._producer.produce(
                    topic, entry.value, entry.key, partition, on_delivery=self._on_delivery(waiting, place)
                )
            except (BufferError, KafkaException) as error:
                raise failure(f"cannot append to {topic}:{partition}", self.fatal or _kafka_error(error)) from error
        if self.fatal is None:
            self._waiting.add(waiting)
            try:
                await waiting.future
            finally:
                self._waiting.discard(waiting)
        elif waiting.error is None:
            waiting.error = self.fatal  # its thread may have ended
        if waiting.error is not None:
            raise failure(f"append to {topic}:{partition} failed", self.fatal or waiting.error)
        if UNKNOWN_OFFSET in waiting.offsets:  # brokers had it already, from an earlier attempt
            raise LogError(f"append to {topic}:{partition} is in the log, but the brokers do not tell where")
        return waiting.offsets

    async def close(self) -> None:
        await self._loop.run_in_executor(None, self._producer.flush, POLL_S * 10)
        self._stopping.set()
        await self._loop.run_in_executor(None, self._thread.join)

    def _on_delivery(self, waiting: _Append, place: int) -> Any:
        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                waiting.error = error
            else:
                offset = message.offset()
                waiting.offsets[place] = UNKNOWN_OFFSET if offset is None else offset
            waiting.remaining -= 1
            if not waiting.remaining:
                self._finished.append(waiting)

        return delivered

    def _poll(self) -> None:
        """Runs the delivery callbacks, and wakes the loop once for all that came together."""
        try:
            while not self._stopping.is_set():
                try:
                    self._producer.poll(POLL_S)
                except KafkaException as error:
                    self.fatal = error.args[0]  # the deliveries that it fails come next
                if self._finished:
                    finished, self._finished = self._finished, []
                    self._loop.call_soon_threadsafe(_wake, finished)
        except Exception as error:  # noqa: BLE001 - whatever it is, who appends must hear of it
            self._loop.call_soon_threadsafe(self._end, f"its thread ended: {type(error).__name__}: {error}")

    def _end(self, why: str) -> None:
        """Nobody is told of any delivery any more: all appends fail, and another producer has to be made."""
        self.fatal = KafkaError(KafkaError._FAIL, why)
        for each in self._waiting:
            each.error = self.fatal
        _wake(list(self._waiting))


def _wake(finished: Sequence[_Append]) -> None:
    for each in finished:
        if not each.future.done():
            each.future.set_result(each.offsets)


def _kafka_error(error: Exception) -> KafkaError | None:
    if isinstance(error, KafkaException) and isinstance(error.args[0], KafkaError):
        return error.args[0]
    return KafkaError(KafkaError._QUEUE_FULL) if isinstance(error, BufferError) else None
