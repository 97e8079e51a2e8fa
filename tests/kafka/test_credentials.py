"""A broker that asks for a password."""

import json
import time
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from processors.faust_app import GROUP
from tests.kafka.broker import Broker
from tests.kafka.cluster import Role
from tests.kafka.test_topics import bucketlog
from topics import spec

pytestmark = pytest.mark.kafka


def settings(broker: Broker, password: str) -> dict[str, str]:
    sasl = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "store"}
    return {
        "BUCKETLOG_KAFKA": f"127.0.0.1:{broker.sasl_port}",
        "BUCKETLOG_KAFKA_REPLICATION": "1",
        "BUCKETLOG_KAFKA_MIN_IN_SYNC": "1",
        "BUCKETLOG_KAFKA_SETTINGS": json.dumps({**sasl, "sasl.password": password}),
        "BUCKETLOG_CLUSTER_SECRET": "a secret of a test cluster",
    }


def wait_for_members(broker: Broker, group: str) -> None:
    admin, deadline = AdminClient({"bootstrap.servers": broker.bootstrap}), time.monotonic() + 30
    while not admin.describe_consumer_groups([group])[group].result().members:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_password_lets_in_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker", users={"store": "open sesame"}).start().wait()
    try:
        code, out, _ = bucketlog("topics", "create", **settings(broker, "open sesame"))
        assert (code, len(out.splitlines())) == (0, 1 + len(spec.CLUSTER))
        code, out, error = bucketlog("topics", "describe", **settings(broker, "open barley"))
        assert (code, out) == (1, "")
        assert "check the credentials" in error
        assert "barley" not in error
        role = Role("processor", tmp_path / "processor", settings(broker, "open sesame")).start().wait()
        wait_for_members(broker, GROUP)  # Faust's client was let in, too
        assert role.stop() == 0
    finally:
        broker.kill()
