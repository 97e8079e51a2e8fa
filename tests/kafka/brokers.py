"""Several brokers as one Kafka cluster."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._metadata import PartitionMetadata

from tests.kafka.broker import Broker
from tests.server import free_port

IN_SYNC_S = 60


@contextmanager
def brokers(folder: Path, count: int, host: str = "127.0.0.1") -> Iterator[list[Broker]]:
    voters = {node: free_port() for node in range(1, count + 1)}
    made = [
        Broker(folder / f"broker{node}", node=node, voters=voters, cluster="bucketlogTestCluster01", host=host)
        for node in voters
    ]
    try:
        for each in made:
            each.start()
        for each in made:
            each.wait()
        yield made
    finally:
        for each in made:
            each.kill()


def bootstrap(made: Sequence[Broker]) -> str:
    return ",".join(each.bootstrap for each in made)


def wait_until_in_sync(made: Sequence[Broker]) -> None:
    """Each partition of each topic has all its replicas."""
    _wait(made, IN_SYNC_S, lambda each: len(each.isrs) == len(made))


def wait_until_led(made: Sequence[Broker], within_s: float) -> None:
    """Each partition of each topic is led by one of these."""
    nodes = {each.node for each in made}
    _wait(made, within_s, lambda each: each.leader in nodes)


def _wait(made: Sequence[Broker], within_s: float, holds: Callable[[PartitionMetadata], bool]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap(made)})
    deadline = time.monotonic() + within_s
    while True:
        topics = admin.list_topics(timeout=10).topics.values()
        if all(holds(each) for topic in topics for each in topic.partitions.values()):
            return
        assert time.monotonic() < deadline
        time.sleep(0.5)
