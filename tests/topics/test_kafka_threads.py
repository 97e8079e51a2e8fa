"""The threads of the Kafka adapter where something fails in them that nobody thought of: who waits hears of it."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from topics.kafka.config import KafkaConfig
from topics.kafka.fetcher import Fetcher
from topics.kafka.group import OwnerGroup
from topics.kafka.producer import KafkaProducer
from topics.log import Entry, LogError

CONFIG = KafkaConfig("nowhere:1")
WITHIN_S = 10.0


class Client:
    """librdkafka's, without a broker. Knob: `failures`, how many of its polls raise what no codec of errors knows."""

    failures = 0
    made = 0
    polled = threading.Event()

    def __init__(self, settings: Any) -> None:
        Client.made += 1
        self._callback: Callable[..., None] | None = None

    def poll(self, wait_s: float) -> None:
        threading.Event().wait(0.005)
        if Client.failures:
            Client.failures -= 1
            raise RuntimeError("by the test's wish")
        Client.polled.set()

    def consume(self, *_: Any) -> list[Any]:
        return []

    def produce(self, *_: Any, **__: Any) -> None:
        """It never arrives."""

    def subscribe(self, *_: Any, **__: Any) -> None: ...

    def list_topics(self, *_: Any) -> None: ...

    def incremental_assign(self, _: Any) -> None: ...

    def incremental_unassign(self, _: Any) -> None: ...

    def flush(self, _: float) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    Client.failures = Client.made = 0
    Client.polled.clear()
    for name in ("fetcher.Consumer", "group.Consumer", "producer.Producer"):
        monkeypatch.setattr(f"topics.kafka.{name}", Client)
    monkeypatch.setattr("topics.kafka.group.AGAIN_S", 0.01)


class Owner:
    async def gained(self, partitions: set[int]) -> None: ...

    async def lost(self, partitions: set[int]) -> None: ...


def test_who_follows_hears_that_the_thread_ended_and_so_does_who_follows_next() -> None:
    async def case() -> None:
        fetcher = Fetcher(CONFIG)
        following = [asyncio.ensure_future(anext(fetcher.follow("t", number, 0))) for number in range(2)]
        await asyncio.sleep(0)
        Client.failures = 1
        for each in following:
            with pytest.raises(LogError, match=r"RuntimeError: by the test's wish; report it"):
                await asyncio.wait_for(each, WITHIN_S)
        assert fetcher.failed is not None
        with pytest.raises(LogError, match="cannot be followed"):
            await asyncio.wait_for(anext(fetcher.follow("t", 0, 0)), WITHIN_S)
        await fetcher.close()

    asyncio.run(case())


def test_who_appends_hears_that_the_thread_ended_and_so_does_who_appends_next() -> None:
    async def case() -> None:
        producer = KafkaProducer(CONFIG)
        appending = asyncio.ensure_future(producer.append("t", 0, [Entry(b"", b"")]))
        await asyncio.sleep(0)
        Client.failures = 1
        with pytest.raises(LogError, match="its thread ended: RuntimeError"):
            await asyncio.wait_for(appending, WITHIN_S)
        assert producer.fatal is not None  # so the log makes another
        with pytest.raises(LogError, match="its thread ended"):
            await asyncio.wait_for(producer.append("t", 0, [Entry(b"", b"")]), WITHIN_S)
        await producer.close()

    asyncio.run(case())


def test_a_member_of_the_group_that_failed_is_followed_by_another_and_says_so_until_then() -> None:
    async def case() -> None:
        group = OwnerGroup(CONFIG, "name", Owner())
        Client.failures = 2
        failures = set[str]()
        group.start()
        while not (Client.polled.is_set() and not group.failure):
            failures.add(group.failure)
            await asyncio.sleep(0.001)
        assert "not in the group of owners: by the test's wish" in failures
        assert Client.made == 3
        await group.stop()

    asyncio.run(case())
