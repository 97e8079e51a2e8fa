"""Data nodes die, pause and lose their disks under load: clients hardly notice, and all copies come back by themselves."""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator

import pytest

from tests.cluster.outcome import CLIENTS, OUTAGE_S, PAUSE_S, TIMES, WHOLE_S, check_all, report
from tests.cluster.state import wait_until_whole
from tests.kafka.cluster import Cluster
from tests.load.clients import Client, start_clients, stop_clients

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.cluster, pytest.mark.timed]
ROUNDS = int(os.environ.get("BUCKETLOG_TEST_ROUNDS", "1"))  # of each fault
NODES = 4
AWAY_S = (2.0, 30.0)  # longer than the grace, sometimes


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[Cluster]:
    """Of all tests here: each has a bucket of its own, and leaves all copies where they belong."""
    with Cluster(tmp_path_factory.mktemp("cluster"), kafka, datanodes=NODES, env=TIMES) as made:
        yield made


def clients_of(cluster: Cluster, bucket: str) -> list[Client]:
    wait_until_whole(cluster, WHOLE_S)
    return start_clients(cluster, CLIENTS, PAUSE_S, bucket)


def test_any_data_node_may_be_killed(cluster: Cluster) -> None:
    clients = clients_of(cluster, "killed")
    rng = random.Random(1)
    for _ in range(ROUNDS):
        node = rng.choice(cluster.datanodes)
        time.sleep(rng.uniform(2, 5))
        node.kill()
        time.sleep(rng.uniform(*AWAY_S))
        node.start().wait()
        time.sleep(rng.uniform(2, 15))
    stop_clients(clients)
    outage_s = report(clients, "data nodes killed")
    check_all(cluster, clients)
    assert outage_s <= OUTAGE_S


def test_any_data_node_may_be_paused(cluster: Cluster) -> None:
    clients = clients_of(cluster, "paused")
    rng = random.Random(2)
    for _ in range(ROUNDS):
        node = rng.choice(cluster.datanodes)
        time.sleep(rng.uniform(2, 5))
        node.send(signal.SIGSTOP)
        time.sleep(rng.uniform(*AWAY_S))
        node.send(signal.SIGCONT)
        time.sleep(rng.uniform(2, 15))
    stop_clients(clients)
    outage_s = report(clients, "data nodes paused")
    check_all(cluster, clients)
    assert outage_s <= OUTAGE_S


def test_a_wiped_data_node_is_full_again(cluster: Cluster) -> None:
    clients = clients_of(cluster, "wiped")
    time.sleep(5)
    node = cluster.datanodes[1]
    node.kill()
    shutil.rmtree(node.data)
    time.sleep(1)
    node.start()
    time.sleep(15)
    stop_clients(clients)
    outage_s = report(clients, "data node wiped")
    check_all(cluster, clients)
    assert outage_s <= OUTAGE_S
