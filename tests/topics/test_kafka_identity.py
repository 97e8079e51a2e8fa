"""The identity of a log on Kafka, where a broker does not show a topic that there is: it has not heard of it yet."""

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection

from topics import spec
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import KafkaConfig


class Admin:
    """librdkafka's, without a broker. Knob: `hidden`, topics that the next looks miss."""

    def __init__(self) -> None:
        self.hidden: set[str] = set()
        self.ids = {each.name: f"id-{each.name}" for each in spec.CLUSTER}

    def describe_topics(self, topics: TopicCollection, **_: Any) -> "dict[str, Future[Any]]":
        return {name: self._described(name) for name in topics.topic_names}

    def _described(self, name: str) -> "Future[Any]":
        future: Future[Any] = Future()
        if name in self.hidden or name not in self.ids:
            future.set_exception(KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)))
        else:
            partitions = [SimpleNamespace(isr=[1])] * next(each.partitions for each in spec.CLUSTER if each.name == name)
            future.set_result(SimpleNamespace(topic_id=self.ids[name], partitions=partitions))
        return future


@pytest.mark.parametrize("hidden", ["commands", "events"])
def test_a_look_that_misses_a_topic_changes_no_identity(hidden: str) -> None:
    """Else each view would be taken for that of another log."""

    async def case() -> None:
        log, admin = KafkaLog(KafkaConfig("nowhere:1")), Admin()
        log._admin = admin  # type: ignore[assignment]
        await log.create_topics(spec.CLUSTER)
        assert log.identity == "id-commands+id-events"
        admin.hidden = {hidden}
        await log.create_topics(spec.CLUSTER)
        assert log.identity == "id-commands+id-events"
        admin.hidden, admin.ids[hidden] = set(), "another"
        await log.create_topics(spec.CLUSTER)
        assert "another" in log.identity  # one that was made anew is another log
        await log.close()

    asyncio.run(case())
