"""An owner and a gateway are cut off from the broker and not from each other, nor from clients: they may not answer from
what they know, for another owner has taken over. A build whose owners do not look at their lease answers, and is caught.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kafka.broker import Broker
from tests.kafka.cluster import Cluster
from tests.kafka.proxy import Proxy
from tests.linearizability.checker import check
from tests.linearizability.history import kept_on_failure
from tests.linearizability.recorder import Recorder
from tests.server import free_port
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import KafkaConfig
from topics.log import Entry
from topics.spec import EVENTS, TopicPartition

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
TIMEOUT_S = 40.0  # longer than a gateway looks for an owner, or waits for one to decide
SILENT_S = 5.0  # several attempts, and less than the log waits for a broker
NO_LEASE = [sys.executable, "-m", "tests.linearizability.no_lease"]


@contextmanager
def proxied_broker(folder: Path) -> Iterator[tuple[Broker, Proxy, int]]:
    port = free_port()
    broker = Broker(folder / "broker", proxy_port=port).start().wait()
    try:
        with Proxy(port, broker.proxied_port) as proxy:
            yield broker, proxy, port
    finally:
        broker.stop()


@contextmanager
def proxied_cluster(folder: Path, command: list[str]) -> Iterator[tuple[Cluster, Proxy]]:
    """The first processor, run by `command`, and the first gateway come to the broker by a proxy."""
    with proxied_broker(folder) as (broker, proxy, port):
        cluster = Cluster(folder, broker.bootstrap)
        for role in (cluster.processors[0], cluster.gateways[0]):
            role.env["BUCKETLOG_KAFKA"] = f"127.0.0.1:{port}"
        cluster.processors[0].command = command or cluster.processors[0].command
        with cluster:
            yield cluster, proxy


def test_offsets_are_waited_for(tmp_path: Path) -> None:
    """What a broker does not tell is not taken for an empty partition."""
    at = TopicPartition("events", 0)

    async def case(proxy: Proxy, port: int) -> None:
        log = await KafkaLog.open(KafkaConfig(f"127.0.0.1:{port}", replication=1, min_in_sync=1))
        await log.create_topics([EVENTS])
        await log.append(at, [Entry(b"", b"a")], durable=True)
        proxy.cut()
        asked = asyncio.create_task(log.latest(at))
        await asyncio.sleep(SILENT_S)
        assert not asked.done()
        proxy.heal()
        assert await asked == 1
        await log.close()

    with proxied_broker(tmp_path) as (_, proxy, port):
        asyncio.run(case(proxy, port))


def bucket_of_the_first(cluster: Cluster) -> str:
    return next(name for name in map("bucket-{}".format, range(100)) if cluster.owner(name) is cluster.processors[0])


def act(cluster: Cluster, proxy: Proxy) -> tuple[Recorder, Recorder]:
    """What a client at the gateway that was cut off did and saw, and one at the other gateway."""
    cut, other = (
        Recorder(cluster.client(gateway=number, read_timeout=TIMEOUT_S), number) for number in range(len(cluster.gateways))
    )
    bucket = bucket_of_the_first(cluster)
    cluster.client(gateway=1).create_bucket(Bucket=bucket)
    other.put(bucket, "k", b"old")
    cut.head(bucket, "k")
    proxy.cut()
    other.put(bucket, "k", b"new")  # waits for another owner
    for _ in range(3):
        other.head(bucket, "k")
    cut.head(bucket, "k")
    proxy.heal()
    return cut, other


def test_who_is_cut_off_tells_nothing_old(tmp_path: Path) -> None:
    with proxied_cluster(tmp_path, []) as (cluster, proxy):
        cut, other = act(cluster, proxy)
        assert [each.error for each in other.attempts] == [""] * 5
        assert "503" in cut.attempts[-1].error
        cut.head(other.attempts[0].bucket, "k")
        assert cut.attempts[-1].error == ""
        history = [*cut.operations, *other.operations]
        assert [each.kind for each in history].count("read") == 5
        with kept_on_failure("cut-off", lambda: history):
            assert check(history) is None
        assert cluster.processors[1].stop() == 0  # who was cut off takes over again
        cut.put(other.attempts[0].bucket, "k", b"newer")
        assert cut.attempts[-1].error == ""
        cluster.processors[1].start().wait()


def test_a_build_that_does_not_look_at_leases_is_caught(tmp_path: Path) -> None:
    with proxied_cluster(tmp_path, NO_LEASE) as (cluster, proxy):
        cut, other = act(cluster, proxy)
        told = check([*cut.operations, *other.operations])
        assert told is not None
        assert told.startswith(f"{other.attempts[0].bucket}/k: cannot be placed: client 0 ")
