"""What clients saw of a fault, and what must hold behind it."""

import os
import time
from collections import Counter

from tests.cluster.state import state, wait_until_whole
from tests.cluster.volumes import differences, look
from tests.kafka.cluster import Cluster
from tests.load.checks import check, check_stream
from tests.load.clients import Client

CLIENTS, PAUSE_S = 8, 0.05  # leaves time for all roles and the broker on a machine of two cores
OUTAGE_S = float(os.environ.get("BUCKETLOG_TEST_OUTAGE_S", "2"))
IS_BUSY = OUTAGE_S > 2  # the machine does other things, too
FAILOVER_S = 25.0 if IS_BUSY else 15.0  # until another processor owns what one had that died, or brokers have new leaders
ANSWERED = 0.99
WHOLE_S = 120.0
TIMES = {
    "BUCKETLOG_RELEASE_AFTER_S": "2",
    "BUCKETLOG_ORPHAN_AFTER_S": "8",
    "BUCKETLOG_SWEEP_PACE_S": "0.2",
    "BUCKETLOG_SWEEP_EVERY_S": "1",
}
SWEPT_S = 12.0  # until orphans are old enough and were asked for


def report(clients: list[Client], what: str, answered: float = ANSWERED) -> float:
    """The longest outage; fails where too few were answered."""
    asked = sum((each.asked for each in clients), Counter[str]())
    failed = sum((each.failed for each in clients), Counter[str]())
    outage_s = max(each.longest_outage_s for each in clients)
    shares = {kind: 1 - failed[kind] / count for kind, count in asked.items()}
    print(f"{what}: {asked.total()} requests, answered {shares}, longest outage {outage_s:.1f} s")
    print([error for each in clients for error in each.errors][:5])
    assert min(shares["put"], shares["read"]) >= answered
    return outage_s


def check_all(cluster: Cluster, clients: list[Client]) -> None:
    """Nothing acknowledged is lost, all copies are there and equal, and nothing else is."""
    check(cluster, clients)
    check_stream(cluster)
    time.sleep(SWEPT_S)
    check_copies(cluster)


def check_copies(cluster: Cluster) -> None:
    """Each target of a group has the same blobs, whole; nobody else has any."""
    print(f"whole after {wait_until_whole(cluster, WHOLE_S):.1f} s")
    targets = [group.targets for group in state(cluster).placement.groups]
    for node in cluster.datanodes:
        assert node.stop() == 0
    found = {node.data.name: look(node.data) for node in cluster.datanodes}
    assert differences(found, targets) == []
    for node in cluster.datanodes:
        node.start().wait()
