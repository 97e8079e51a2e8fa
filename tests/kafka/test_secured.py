"""A broker that asks for a password, over TLS, and lets nobody do more than the table in docs/OPERATING.md says."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.bucketlog.shell import run
from tests.kafka import rights
from tests.kafka.broker import Broker, Security
from tests.kafka.cluster import Cluster, Role
from tests.load.checks import stream
from topics import spec
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import KafkaConfig
from topics.log import Entry, LogError
from topics.spec import bucket_partition

pytestmark = pytest.mark.kafka
PASSWORDS = {name: f"{name}-password" for name in ("gateway", "processor", "datanode", "subscriber")}
KEYS_PASSWORD = "of the key store"


class Secured(NamedTuple):
    broker: Broker
    certificate: Path
    other_certificate: Path  # of somebody else

    def client(self, user: str, *, password: str = "", certificate: Path | None = None) -> dict[str, str]:
        return {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": user,
            "sasl.password": password or PASSWORDS[user],
            "ssl.ca.location": str(certificate or self.certificate),
        }

    def config(self, user: str, prefix: str) -> KafkaConfig:
        return KafkaConfig(f"127.0.0.1:{self.broker.secure_port}", prefix, extra=self.client(user))

    def env(self, prefix: str, client: dict[str, str], bootstrap: str = "") -> dict[str, str]:
        return {
            "BUCKETLOG_KAFKA": bootstrap or f"127.0.0.1:{self.broker.secure_port}",
            "BUCKETLOG_KAFKA_PREFIX": prefix,
            "BUCKETLOG_KAFKA_REPLICATION": "1",
            "BUCKETLOG_KAFKA_MIN_IN_SYNC": "1",
            "BUCKETLOG_KAFKA_SETTINGS": json.dumps(client),
            "BUCKETLOG_CLUSTER_SECRET": "a secret of a test cluster",
        }


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    certificate, other = (certify(folder / f"{name}.p12") for name in ("broker", "other"))
    security = Security(PASSWORDS, folder / "broker.p12", KEYS_PASSWORD)
    broker = Broker(folder / "broker", security=security).start().wait()
    yield Secured(broker, certificate, other)
    broker.kill()


def certify(keys: Path) -> Path:
    """A new key, and a certificate that it signed itself, which is returned as PEM."""
    store = ["-keystore", str(keys), "-storepass", KEYS_PASSWORD, "-alias", "broker"]
    subject = ["-dname", "CN=broker", "-ext", "san=ip:127.0.0.1", "-ext", "bc:c=ca:true"]
    keytool("-genkeypair", *store, "-storetype", "PKCS12", "-keyalg", "EC", *subject)
    certificate = keys.with_suffix(".pem")
    keytool("-exportcert", "-rfc", *store, "-file", str(certificate))
    return certificate


def keytool(*arguments: str) -> None:
    subprocess.run(["keytool", *arguments], check=True, capture_output=True)


def test_a_cluster_serves_with_the_rights_of_the_table_and_no_others(tmp_path: Path, secured: Secured) -> None:
    cluster = Cluster(tmp_path, f"127.0.0.1:{secured.broker.secure_port}", gateways=1, processors=1)
    for role in cluster.roles:
        role.told = tmp_path / f"{role.name}.told"
        role.env["BUCKETLOG_KAFKA_SETTINGS"] = json.dumps(secured.client(role.name))
    rights.grant(secured.broker.bootstrap, cluster.prefix, rights.told())
    refused = run("topics", "create", **secured.env(cluster.prefix, secured.client("gateway")))
    assert (refused.returncode, "check its ACLs" in refused.stderr) == (1, True)
    create_topics(secured, cluster.prefix)
    with cluster:
        s3, large = cluster.client(), os.urandom(3 << 20)
        s3.create_bucket(Bucket="photos")
        for key, data in (("small", b"1"), ("large", large), ("gone", b"2")):
            s3.put_object(Bucket="photos", Key=key, Body=data)
            assert s3.get_object(Bucket="photos", Key=key)["Body"].read() == data
        s3.delete_object(Bucket="photos", Key="gone")
        assert [row["Key"] for row in s3.list_objects_v2(Bucket="photos")["Contents"]] == ["large", "small"]
        assert len(stream(cluster, "photos")) == 6
        asyncio.run(until_trimmed(KafkaConfig(secured.broker.bootstrap, cluster.prefix), bucket_partition("photos")))
    # a role that lacks a right tells so
    told = [json.loads(line) for role in cluster.roles if role.told for line in role.told.read_text().splitlines()]
    assert [each for each in told if each["level"] != "info"] == []
    check_events(secured, cluster.prefix)


def create_topics(secured: Secured, prefix: str) -> None:
    """As one who may do all."""
    assert run("topics", "create", **secured.env(prefix, {}, secured.broker.bootstrap)).returncode == 0


async def until_trimmed(config: KafkaConfig, partition: int) -> None:
    log = await KafkaLog.open(config)
    while not await log.earliest(spec.TopicPartition("commands", partition)):  # noqa: ASYNC110 - trimming wakes nobody
        await asyncio.sleep(0.1)
    await log.close()


def check_events(secured: Secured, prefix: str) -> None:
    """Processors alone write them, and a subscriber need not be able to do anything but read them."""
    for user in ("gateway", "datanode"):
        with pytest.raises(LogError, match="may not use the topic; check its ACLs"):
            asyncio.run(append(secured.config(user, prefix), spec.TopicPartition("events", 0)))
    consumer = Consumer(
        secured.client("subscriber")
        | {
            "bootstrap.servers": f"127.0.0.1:{secured.broker.secure_port}",
            "group.id": "of no right",
            "enable.auto.commit": False,
        }
    )
    consumer.assign([TopicPartition(f"{prefix}events", bucket_partition("photos"), 0)])
    message = consumer.poll(10)
    while message is not None and (error := message.error()) is not None:
        assert error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        message = consumer.poll(10)
    assert message is not None
    consumer.close()


async def append(config: KafkaConfig, at: spec.TopicPartition) -> None:
    log = await KafkaLog.open(config)
    try:
        await log.append(at, [Entry(b"", b"forged")], durable=True)
    finally:
        await log.close()


def test_who_is_given_the_right_to_write_later_need_not_start_again(secured: Secured) -> None:
    prefix, at = "later-", spec.TopicPartition("replies", 0)
    create_topics(secured, prefix)
    seen = [rights.Right("subscriber", "topic", each.name, True, "Describe") for each in spec.CLUSTER]
    rights.grant(secured.broker.bootstrap, prefix, seen)

    async def case() -> None:
        log = await KafkaLog.open(secured.config("subscriber", prefix))
        with pytest.raises(LogError):
            await log.append(at, [Entry(b"", b"a")], durable=True)
        rights.grant(secured.broker.bootstrap, prefix, [rights.Right("subscriber", "topic", at.topic, True, "Write")])
        assert await log.append(at, [Entry(b"", b"a")], durable=True) == [0]
        await log.close()

    asyncio.run(asyncio.wait_for(case(), 30))


def test_a_wrong_password_or_certificate_is_named(secured: Secured) -> None:
    password = secured.client("gateway", password="barley")
    done = run("topics", "describe", **secured.env("", password))
    assert (done.returncode, done.stdout) == (1, "")
    assert "check the credentials" in done.stderr
    assert "barley" not in done.stderr
    certificate = secured.client("gateway", certificate=secured.other_certificate)
    done = run("topics", "describe", **secured.env("", certificate))
    assert (done.returncode, done.stdout) == (1, "")
    assert "certificate verify failed" in done.stderr
    assert "certificates in kafka_settings" in done.stderr


def test_a_role_that_does_not_trust_the_broker_says_so_and_waits(tmp_path: Path, secured: Secured) -> None:
    client = secured.client("processor", certificate=secured.other_certificate)
    role = Role("processor", tmp_path, secured.env("", client))
    role.told = tmp_path / "told"
    line = role.start().tells("certificate verify failed")
    assert "waiting for Kafka" in line
    assert (role.answers("/healthz"), role.is_ready()) == (True, False)
    assert role.stop() == 0
