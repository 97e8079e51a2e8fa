"""Data nodes die, pause and lose their disks under load: clients hardly notice, and all copies come back by themselves."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.state import state, wait_until_whole
from tests.cluster.volumes import differences, look
from tests.faults.workload import Client, check, check_stream, start_clients, stop_clients
from tests.kafka.cluster import Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.cluster]
ROUNDS = int(os.environ.get("BUCKETLOG_TEST_ROUNDS", "1"))  # of each fault
NODES = 4
CLIENTS, PAUSE_S = 8, 0.05  # leaves time for all roles and the broker on a machine of two cores
AWAY_S = (2.0, 30.0)  # behind the grace, sometimes
OUTAGE_S = float(os.environ.get("BUCKETLOG_TEST_OUTAGE_S", "2"))
ANSWERED = 0.99
WHOLE_S = 120.0
TIMES = {"BUCKETLOG_RELEASE_AFTER_S": "2", "BUCKETLOG_ORPHAN_AFTER_S": "8", "BUCKETLOG_SWEEP_PACE_S": "0.2"}
SWEPT_S = 12.0  # until orphans are old enough and were asked for


@pytest.fixture
def cluster(tmp_path: Path, kafka: str) -> Iterator[Cluster]:
    with Cluster(tmp_path, kafka, datanodes=NODES, env=TIMES) as made:
        wait_until_whole(made, WHOLE_S)
        yield made


def report(clients: list[Client], what: str) -> float:
    """The longest outage; fails where too few were answered."""
    asked = sum((each.asked for each in clients), Counter[str]())
    failed = sum((each.failed for each in clients), Counter[str]())
    outage_s = max(each.longest_outage_s for each in clients)
    shares = {kind: 1 - failed[kind] / count for kind, count in asked.items()}
    print(f"{what}: {asked.total()} requests, answered {shares}, longest outage {outage_s:.1f} s")
    print([error for each in clients for error in each.errors][:5])
    assert min(shares["put"], shares["read"]) >= ANSWERED
    return outage_s


def check_all(cluster: Cluster, clients: list[Client]) -> None:
    """Nothing acknowledged is lost, all copies are there and equal, and nothing else is."""
    check(cluster, clients)
    check_stream(cluster)
    time.sleep(SWEPT_S)
    print(f"whole after {wait_until_whole(cluster, WHOLE_S):.1f} s")
    targets = [group.targets for group in state(cluster).placement.groups]
    for node in cluster.datanodes:
        assert node.stop() == 0
    found = {node.data.name: look(node.data) for node in cluster.datanodes}
    assert differences(found, targets) == []
    for node in cluster.datanodes:
        node.start().wait()


def test_any_data_node_may_be_killed(cluster: Cluster) -> None:
    clients = start_clients(cluster, CLIENTS, PAUSE_S)
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
    clients = start_clients(cluster, CLIENTS, PAUSE_S)
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
    clients = start_clients(cluster, CLIENTS, PAUSE_S)
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
