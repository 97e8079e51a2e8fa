"""A cluster of processes on a real broker: clients at any gateway; owners restarted, gateways and the data node killed
under load. `test_histories` kills and pauses owners.
"""

import os
import time
from collections.abc import Iterator

import pytest

from processors.readers import GONE_S
from tests.kafka.cluster import Cluster
from tests.load.checks import check, check_stream
from tests.load.clients import start_clients, stop_clients
from tests.load.slow_read import BYTES, survives_an_overwrite

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
ROUNDS = int(os.environ.get("BUCKETLOG_TEST_ROUNDS", "1"))  # of each fault


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[Cluster]:
    """Of all tests here: each has a bucket of its own."""
    with Cluster(tmp_path_factory.mktemp("cluster"), kafka, env={"BUCKETLOG_RELEASE_AFTER_S": "1"}) as made:
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
    assert second.list_buckets()["Buckets"] == first.list_buckets()["Buckets"]
    assert "photos" in [row["Name"] for row in second.list_buckets()["Buckets"]]
    assert len(second.list_objects_v2(Bucket="photos")["Contents"]) == 20


def test_what_is_being_read_stays(cluster: Cluster) -> None:
    """Though it was overwritten long ago: garbage is kept for a second here, and an owner has heard all gateways."""
    s3 = cluster.client(gateway=0)
    s3.create_bucket(Bucket="slow")
    kept = taken_bytes(cluster)
    survives_an_overwrite(s3, "slow", lambda: taken_bytes(cluster) < BYTES, hold_s=GONE_S + 10)
    deadline = time.monotonic() + 60
    while taken_bytes(cluster) > kept + BYTES / 10:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def taken_bytes(cluster: Cluster) -> int:
    return sum(path.stat().st_blocks * 512 for path in cluster.datanode.data.glob("volumes/*"))


def test_a_graceful_restart_is_no_error_to_anyone(cluster: Cluster) -> None:
    clients = start_clients(cluster, bucket="restarts")
    for number in range(2 * ROUNDS):
        time.sleep(2)
        owner = cluster.processors[number % 2]
        assert owner.stop() == 0
        owner.start().wait()
    stop_clients(clients)
    assert [error for client in clients for error in client.errors] == []
    print(f"longest outage {max(client.longest_outage_s for client in clients):.1f} s")
    check(cluster, clients)
    check_stream(cluster, "restarts")


def test_a_gateway_or_the_data_node_may_be_killed(cluster: Cluster) -> None:
    clients = start_clients(cluster, bucket="kills")
    for role in [cluster.gateways[0], cluster.datanode] * ROUNDS:
        time.sleep(2)
        role.kill()
        role.start().wait()
    time.sleep(2)
    stop_clients(clients)
    check(cluster, clients)
    check_stream(cluster, "kills")
