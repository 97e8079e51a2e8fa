"""What the Kafka producer makes of deliveries, with a client of its own in place of librdkafka's."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from topics.kafka.config import KafkaConfig
from topics.kafka.producer import KafkaProducer
from topics.log import Entry, LogError


class Message:
    def __init__(self, offset: int | None) -> None:
        self._offset = offset

    def offset(self) -> int | None:
        return self._offset


class Client:
    """Acknowledges each message with the next of `offsets`."""

    offsets: Sequence[int | None] = ()

    def __init__(self, config: object) -> None:
        self._left = list(self.offsets)
        self._waiting: list[Callable[[None, Message], None]] = []

    def produce(self, topic: str, value: bytes, key: bytes, partition: int, on_delivery: Any) -> None:
        self._waiting.append(on_delivery)

    def poll(self, timeout_s: float) -> None:
        while self._waiting:
            self._waiting.pop(0)(None, Message(self._left.pop(0)))
        time.sleep(0.001)

    def flush(self, timeout_s: float) -> None:
        """Nothing waits."""


def append(monkeypatch: pytest.MonkeyPatch, offsets: list[int | None]) -> list[int]:
    async def run() -> list[int]:
        monkeypatch.setattr("topics.kafka.producer.Producer", Client)
        monkeypatch.setattr(Client, "offsets", offsets)
        producer = KafkaProducer(KafkaConfig("127.0.0.1:1"))
        try:
            return await producer.append("writes", 3, [Entry(b"", b"v")] * len(offsets))
        finally:
            await producer.close()

    return asyncio.run(run())


def test_offsets_come_as_the_brokers_gave_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert append(monkeypatch, [0, 1, 5]) == [0, 1, 5]


def test_an_unknown_offset_is_not_taken_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LogError, match="append to writes:3 is in the log, but the brokers do not tell where"):
        append(monkeypatch, [7, None])
