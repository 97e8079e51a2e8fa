"""`bucketlog topics`, and a log that is not what it was."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.bucketlog.shell import run
from tests.kafka.broker import remove_topics
from tests.kafka.cluster import Role
from topics import spec
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import KafkaConfig
from topics.log import Entry, LogError, OffsetTrimmed
from topics.spec import TopicPartition, TopicSpec, Visible

pytestmark = pytest.mark.kafka
AT = TopicPartition("commands", 0)
EVENTS_AT = TopicPartition("events", 0)


def test_topics_are_created_and_described(kafka: str) -> None:
    env = {
        "BUCKETLOG_KAFKA": kafka,
        "BUCKETLOG_KAFKA_PREFIX": f"d{uuid.uuid4().hex[:6]}-",
        "BUCKETLOG_KAFKA_REPLICATION": "1",
        "BUCKETLOG_KAFKA_MIN_IN_SYNC": "1",
    }
    missing = run("topics", "describe", **env)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "bucketlog topics create" in missing.stderr
    made = run("topics", "create", **env)
    assert made.returncode == 0
    assert len(made.stdout.splitlines()) == 1 + len(spec.CLUSTER)
    for again in ("describe", "create"):
        done = run("topics", again, **env)
        assert (done.returncode, done.stdout, done.stderr) == (0, made.stdout, "")
    remove_topics(kafka, env["BUCKETLOG_KAFKA_PREFIX"])


def test_without_a_cluster_there_is_one_line(tmp_path: Path) -> None:
    done = run("topics", "describe")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "BUCKETLOG_KAFKA" in done.stderr


def on_kafka(bootstrap: str, case: Callable[[KafkaConfig], Awaitable[None]]) -> None:
    config = KafkaConfig(bootstrap, f"u{uuid.uuid4().hex[:6]}-", replication=1, min_in_sync=1)

    async def whole() -> None:
        await case(config)

    try:
        asyncio.run(whole())
    finally:
        remove_topics(bootstrap, config.prefix)


def test_a_topic_made_anew_is_another_log(kafka: str) -> None:
    async def case(config: KafkaConfig) -> None:
        log = await KafkaLog.open(config)
        await log.create_topics(spec.CLUSTER)
        before = log.identity
        for future in log._admin.delete_topics([f"{config.prefix}events"]).values():
            future.result()
        await log.close()
        again = await KafkaLog.open(config)
        while any(each.topic.endswith("events") for each in again.describe()):  # brokers hear of it one after another
            await again.close()
            again = await KafkaLog.open(config)
        await again.create_topics(spec.CLUSTER)
        assert again.identity != before
        await again.close()

    on_kafka(kafka, case)


def test_a_changed_number_of_partitions_is_told(kafka: str) -> None:
    async def case(config: KafkaConfig) -> None:
        log = await KafkaLog.open(config)
        await log.create_topics([TopicSpec("commands", 3, Visible.APPENDED, kept=False)])
        with pytest.raises(LogError, match="has 3 partitions, not 17"):
            await log.create_topics(spec.CLUSTER)
        await log.close()

    on_kafka(kafka, case)


def test_the_first_follower_of_a_topic_need_not_wait_for_a_timer(kafka: str) -> None:
    async def case(config: KafkaConfig) -> None:
        log = await KafkaLog.open(config)
        await log.create_topics(spec.CLUSTER)
        await log.append(AT, [Entry(b"", b"a")], durable=True)
        await log.append(EVENTS_AT, [Entry(b"", b"a")], durable=True)
        took = []
        for _ in range(3):  # librdkafka's timer may come at the right moment, and this machine may be busy
            await anext(log.follow(EVENTS_AT, 0))
            await asyncio.sleep(0.3)
            started = time.monotonic()
            await anext(log.follow(AT, 0))
            took.append(time.monotonic() - started)
            await log._fetchers.pop().close()
        assert sorted(took)[1] < 0.3
        await log.close()

    on_kafka(kafka, case)


def test_a_follower_below_what_is_kept_is_told(kafka: str) -> None:
    async def case(config: KafkaConfig) -> None:
        log = await KafkaLog.open(config)
        await log.create_topics(spec.CLUSTER)
        await log.append(AT, [Entry(b"", b"a"), Entry(b"", b"b")], durable=True)
        await log.trim(AT, 2)
        with pytest.raises(OffsetTrimmed):
            await anext(log.follow(AT, 0))
        await log.close()

    on_kafka(kafka, case)


def test_no_broker_is_a_log_error_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topics.kafka.adapter.REQUEST_S", 1.0)

    async def case(config: KafkaConfig) -> None:
        with pytest.raises(LogError, match="check the brokers"):
            await KafkaLog.open(config)

    on_kafka("127.0.0.1:9", case)


def test_a_password_is_never_shown() -> None:
    config = KafkaConfig("b:1", extra={"sasl.password": "hidden"})
    assert "hidden" not in repr(config)


def test_a_role_waits_for_its_broker_and_is_not_ready(tmp_path: Path) -> None:
    env = {
        "BUCKETLOG_KAFKA": "127.0.0.1:9",
        "BUCKETLOG_CLUSTER_SECRET": "a secret of a test cluster",
        "BUCKETLOG_DATANODE": "http://127.0.0.1:9",
        "BUCKETLOG_ACCESS_KEY_ID": "a",
        "BUCKETLOG_SECRET_ACCESS_KEY": "b",
    }
    for name in ("gateway", "processor", "datanode"):
        role = Role(name, tmp_path / name, env).start()
        while not role.answers("/healthz"):
            assert role.is_running()
        assert not role.is_ready()
        assert role.stop() == 0
