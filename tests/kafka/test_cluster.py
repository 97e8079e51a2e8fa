"""A cluster of processes on a real broker: clients at any gateway, owners killed, paused and restarted under load."""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kafka.cluster import Cluster
from tests.load.checks import check, check_stream
from tests.load.clients import BUCKET, READ_TIMEOUT_S, start_clients, stop_clients, wait_for_answers

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
ROUNDS = int(os.environ.get("BUCKETLOG_TEST_ROUNDS", "2"))  # of each fault
OUTAGE_S = 15.0  # that a client without retries may see


@pytest.fixture
def cluster(tmp_path: Path, kafka: str) -> Iterator[Cluster]:
    with Cluster(tmp_path, kafka) as made:
        yield made


def test_clients_may_use_any_gateway(cluster: Cluster) -> None:
    first, second = cluster.client(gateway=0), cluster.client(gateway=1)
    first.create_bucket(Bucket="photos")
    large = os.urandom(20 << 20)
    for number in range(20):
        first.put_object(Bucket="photos", Key=f"k{number}", Body=str(number).encode())
        assert second.get_object(Bucket="photos", Key=f"k{number}")["Body"].read() == str(number).encode()
        assert len(second.list_objects_v2(Bucket="photos")["Contents"]) == number + 1
    second.put_object(Bucket="photos", Key="large", Body=large)
    assert first.get_object(Bucket="photos", Key="large")["Body"].read() == large
    first.delete_object(Bucket="photos", Key="large")
    assert [row["Name"] for row in second.list_buckets()["Buckets"]] == ["photos"]
    assert len(second.list_objects_v2(Bucket="photos")["Contents"]) == 20


def test_a_graceful_restart_is_no_error_to_anyone(cluster: Cluster) -> None:
    clients = start_clients(cluster)
    for number in range(2 * ROUNDS):
        time.sleep(2)
        owner = cluster.processors[number % 2]
        assert owner.stop() == 0
        owner.start().wait()
    stop_clients(clients)
    assert [error for client in clients for error in client.errors] == []
    print(f"longest outage {max(client.longest_outage_s for client in clients):.1f} s")
    check(cluster, clients)
    check_stream(cluster)


@pytest.mark.parametrize("fault", ["killed", "paused"])
def test_nothing_acknowledged_is_lost_when_owners_are(cluster: Cluster, fault: str) -> None:
    clients = start_clients(cluster)
    rng = random.Random(fault)
    for _ in range(ROUNDS):
        time.sleep(rng.uniform(1, 3))
        owner = cluster.owner(BUCKET)
        if fault == "killed":
            owner.kill()
        else:
            owner.send(signal.SIGSTOP)
        time.sleep(1)  # what was under way has been answered
        wait_for_answers(clients, READ_TIMEOUT_S)
        if fault == "killed":
            owner.start().wait()
        else:
            owner.send(signal.SIGCONT)
    stop_clients(clients)
    written, outage_s = sum(each.acknowledged for each in clients), max(each.longest_outage_s for each in clients)
    print(f"{fault}: {written} writes, longest outage {outage_s:.1f} s")
    check(cluster, clients)
    check_stream(cluster)
    assert fault != "killed" or outage_s <= OUTAGE_S


def test_a_gateway_or_the_data_node_may_be_killed(cluster: Cluster) -> None:
    clients = start_clients(cluster)
    for role in [cluster.gateways[0], cluster.datanode] * ROUNDS:
        time.sleep(2)
        role.kill()
        role.start().wait()
    time.sleep(2)
    stop_clients(clients)
    check(cluster, clients)
    check_stream(cluster)
