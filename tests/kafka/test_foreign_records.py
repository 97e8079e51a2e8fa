"""Records that no codec knows, or that are larger than any of ours: what stops, what goes on, what is told."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError
from confluent_kafka import Message, Producer

from tests.kafka.cluster import Cluster
from topics import commands, spec
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import RECORD_BYTES_MAX, KafkaConfig
from topics.log import VALUE_BYTES_MAX
from topics.spec import TopicPartition, bucket_partition

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
GARBAGE = b"garbage"
FAR_MS = 1 << 50
SHORT_S = 2  # that a client waits for what will not be answered
AFTER_S = 30  # for what will be, when owners have claimed anew


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("foreign")
    made = Cluster(folder, kafka, gateways=1, processors=1)
    for role in made.roles:
        role.told = folder / f"{role.name}.told"
    with made:
        yield made


def bucket(cluster: Cluster, name: str) -> Any:
    """A client, with a bucket that has one object: `a`."""
    s3 = cluster.client(read_timeout=AFTER_S)
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="a", Body=b"1")
    return s3


def write(cluster: Cluster, at: TopicPartition, value: bytes, key: bytes = b"") -> str:
    """Append as somebody else does; the place, as it is told."""
    places: list[str] = []

    def delivered(error: object, message: Message) -> None:
        assert error is None
        places.append(f"offset {message.offset()} of {at.topic}:{at.partition}")

    producer = Producer({"bootstrap.servers": cluster.bootstrap, "message.max.bytes": RECORD_BYTES_MAX})
    producer.produce(f"{cluster.prefix}{at.topic}", value, key, at.partition, on_delivery=delivered)
    assert producer.flush(10) == 0
    return places[0]


def log_of(cluster: Cluster) -> KafkaConfig:
    return KafkaConfig(cluster.bootstrap, cluster.prefix)


def test_an_unknown_reply_is_one_lost_reply(cluster: Cluster) -> None:
    async def gateway() -> tuple[TopicPartition, bytes]:
        log = await KafkaLog.open(log_of(cluster))
        for number in range(spec.REPLIES.partitions):
            at = TopicPartition("replies", number)
            if records := await log.read(at, 0):
                await log.close()
                return at, records[0].key
        raise AssertionError("no gateway was replied to")

    s3 = bucket(cluster, "replied")
    at, key = asyncio.run(gateway())
    place = write(cluster, at, GARBAGE, key)
    assert "a reply is lost" in cluster.gateways[0].tells(place)
    s3.put_object(Bucket="replied", Key="b", Body=b"2")
    assert cluster.gateways[0].is_ready()


def test_an_unknown_lease_makes_owners_claim_anew_and_all_goes_on(cluster: Cluster) -> None:
    s3 = bucket(cluster, "owned")
    place = write(cluster, TopicPartition("owners", 0), b'{"version": 99}')
    for role in cluster.processors:
        assert "every partition is claimed again" in role.tells(place)
    s3.put_object(Bucket="owned", Key="b", Body=b"2")
    assert [row["Key"] for row in s3.list_objects_v2(Bucket="owned")["Contents"]] == ["a", "b"]
    assert [role.is_ready() for role in cluster.roles] == [True] * len(cluster.roles)


def test_a_command_whose_event_would_be_too_large_is_left_out(cluster: Cluster) -> None:
    s3, at = bucket(cluster, "large"), TopicPartition("commands", bucket_partition("large"))
    body = commands.CreateBucket("x" * (VALUE_BYTES_MAX * 3 // 2), "incarnation", "us-east-1")
    place = write(cluster, at, commands.encode(commands.Command("R", "root", "", FAR_MS, body)))
    assert "too large" in cluster.processors[0].tells(f"{place} is left out")
    s3.put_object(Bucket="large", Key="b", Body=b"2")
    assert [row["Name"] for row in s3.list_buckets()["Buckets"] if len(row["Name"]) > 63] == []


def test_an_unknown_write_stops_the_data_node_before_it_until_it_is_deleted(cluster: Cluster) -> None:
    s3, at = bucket(cluster, "written"), TopicPartition("writes", 0)
    assert s3.get_object(Bucket="written", Key="a")["Body"].read() == b"1"
    place = write(cluster, at, GARBAGE)
    assert "delete the records of writes:0 up to there" in cluster.datanode.tells(place)
    assert not cluster.datanode.is_ready()
    s3.put_object(Bucket="written", Key="b", Body=b"2")  # the log has it
    assert s3.get_object(Bucket="written", Key="a")["Body"].read() == b"1"

    async def delete() -> None:
        log = await KafkaLog.open(log_of(cluster))
        await log.trim(at, int(place.split()[1]) + 1)
        await log.close()

    assert cluster.datanode.stop() == 0
    asyncio.run(delete())
    cluster.datanode.start().wait()
    assert [s3.get_object(Bucket="written", Key=key)["Body"].read() for key in "ab"] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("topic", "stopped", "other", "advice"),
    [
        ("commands", "photos", "music", "delete the records of commands:{} up to there"),
        ("events", "films", "books", "nothing may be deleted from it"),
    ],
)
def test_an_unknown_record_stops_its_partition_alone(
    cluster: Cluster, topic: str, stopped: str, other: str, advice: str
) -> None:
    number = bucket_partition(stopped)
    assert number not in {bucket_partition(name) for name in (other, "photos" if topic == "events" else "")}
    s3, _ = bucket(cluster, stopped), bucket(cluster, other)
    hasty = cluster.client(read_timeout=SHORT_S)
    place = write(cluster, TopicPartition(topic, number), GARBAGE)
    for _ in range(2):
        with pytest.raises(BotoCoreError):
            hasty.put_object(Bucket=stopped, Key="b", Body=b"2")
        s3.put_object(Bucket=other, Key="b", Body=b"2")
    line = cluster.processors[0].tells(f"partition {number} stopped: {place}")
    assert "upgrade bucketlog" in line
    assert advice.format(number) in line
    assert s3.get_object(Bucket=stopped, Key="a")["Body"].read() == b"1"
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=stopped)["Contents"]] == ["a"]
