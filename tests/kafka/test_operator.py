"""What an operator sees of a cluster on a real broker, and does with its data nodes."""

import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from bucketlog import nodes, status
from bucketlog.admin_client import AdminClient, Refused
from bucketlog.credentials import RootCredentials
from bucketlog.status import Status
from tests.bucketlog.http import get
from tests.bucketlog.scrape import Scrape
from tests.kafka.cluster import Cluster, Role
from tests.server import ACCESS_KEY, REGION, SECRET_KEY
from topics.spec import EVENTS, GROUPS

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
ENV = {"BUCKETLOG_COPIES": "1", "BUCKETLOG_GRACE_S": "2"}
WAIT_S = 60.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), kafka, gateways=1, datanodes=2, env=ENV) as made:
        yield made


@pytest.fixture
def cluster(running: Cluster) -> Cluster:
    """Of all tests here, with both data nodes up."""
    until(running, lambda now: [node.state for node in now.nodes] == ["up", "up"])
    return running


def asked(cluster: Cluster) -> AdminClient:
    return AdminClient(cluster.endpoint, REGION, RootCredentials(ACCESS_KEY, SECRET_KEY))


def until(cluster: Cluster, holds: Callable[[Status], bool]) -> Status:
    deadline = time.monotonic() + WAIT_S
    while not holds(found := msgspec.convert(asked(cluster).ask("GET", status.PATH), Status)):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    return found


def scrape(role: Role) -> Scrape:
    code, text = get(f"{role.endpoint}/-/metrics")
    assert code == 200
    return Scrape(text)


def test_a_gateway_knows_all_and_each_role_tells_of_itself(cluster: Cluster) -> None:
    s3 = cluster.client()
    s3.create_bucket(Bucket="seen")
    s3.put_object(Bucket="seen", Key="large", Body=bytes(1_000_000))
    found = until(cluster, lambda now: all(node.heard_ago_s is not None for node in now.nodes))
    assert [(node.name, node.state) for node in found.nodes] == [("node0", "up"), ("node1", "up")]
    assert all(node.heard_ago_s is not None and node.heard_ago_s < 5 for node in found.nodes)
    found = until(cluster, lambda now: len(now.groups[status.Condition.WHOLE]) == GROUPS)
    owners = {role.endpoint for role in cluster.processors}
    found = until(cluster, lambda now: all(each.lag == 0 for each in now.partitions))
    assert {each.owner for each in found.partitions} == owners
    scrapes = [scrape(role) for role in cluster.processors]
    assert sum(each.sum("bucketlog_partition_held") for each in scrapes) == EVENTS.partitions
    (of_cluster,) = [each for each in scrapes if each.has("bucketlog_data_nodes")]
    assert of_cluster.sum("bucketlog_data_nodes", state="up") == 2
    assert sum(each.sum("bucketlog_view_lag_records") for each in scrapes) == 0
    assert scrape(cluster.gateways[0]).sum("bucketlog_requests_total", operation="PutObject") == 1
    assert sum(scrape(role).sum("bucketlog_volume_live_bytes") for role in cluster.datanodes) >= 1_000_000
    assert all(scrape(role).sum("bucketlog_log_reachable") == 1 for role in cluster.roles)


def test_a_data_node_is_drained_stopped_and_forgotten(cluster: Cluster) -> None:
    s3, body = cluster.client(), bytes(range(256)) * 4000
    s3.create_bucket(Bucket="drained")
    for number in range(20):
        s3.put_object(Bucket="drained", Key=f"k{number}", Body=body)
    asked(cluster).ask("POST", nodes.path("node0", "drain"))
    until(cluster, lambda now: (now.nodes[0].groups_wanted, now.nodes[0].groups_leaving) == (0, 0))
    with pytest.raises(Refused, match="NodeHoldsData"):
        asked(cluster).ask("POST", nodes.path("node0", "remove"))
    assert cluster.datanodes[0].stop() == 0
    until(cluster, lambda now: now.nodes[0].state == "down")
    asked(cluster).ask("POST", nodes.path("node0", "remove"))
    until(cluster, lambda now: [node.name for node in now.nodes] == ["node1"])
    for number in range(20):
        assert s3.get_object(Bucket="drained", Key=f"k{number}")["Body"].read() == body
    cluster.datanodes[0].start().wait()  # it is welcome, as one that has nothing


def test_a_cluster_is_paused_and_resumed_by_an_operator(cluster: Cluster) -> None:
    for action, is_paused in (("pause", True), ("resume", False)):
        asked(cluster).ask("POST", f"/-/cluster/{action}")
        until(cluster, lambda now, is_paused=is_paused: now.is_paused is is_paused)  # type: ignore[misc]
        scrapes = [scrape(role) for role in cluster.processors]
        assert [each.sum("bucketlog_cluster_paused") for each in scrapes if each.has("bucketlog_cluster_paused")] == [
            is_paused
        ]


def test_a_processor_says_that_it_is_well(cluster: Cluster) -> None:
    for role in cluster.processors:
        assert get(f"{role.endpoint}/healthz") == (200, "ok\n")
        assert get(f"{role.endpoint}/readyz") == (200, "ready\n")


def test_a_gateway_without_data_nodes_is_not_ready_and_says_why(cluster: Cluster) -> None:
    for role in cluster.datanodes:
        role.kill()
    until(cluster, lambda now: all(node.state == "down" for node in now.nodes))
    code, why = get(f"{cluster.endpoint}/readyz")
    assert (code, "quorum of data nodes" in why) == (503, True)
    assert get(f"{cluster.endpoint}/healthz")[0] == 200
    for role in cluster.datanodes:
        role.start()
    for role in cluster.datanodes:
        role.wait()
    until(cluster, lambda _: cluster.gateways[0].is_ready())
