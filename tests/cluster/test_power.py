"""The power of all data nodes fails under load: what they acknowledged is on their disks; who skips the sync is caught."""

import os
import random
import sys
import time
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.cluster import outcome
from tests.cluster.outcome import WHOLE_S, check_all
from tests.cluster.state import wait_until_whole
from tests.faults.power import cut
from tests.kafka.cluster import Cluster, Role
from tests.load.clients import start_clients, stop_clients

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.cluster]
CUTS = int(os.environ.get("BUCKETLOG_TEST_NODE_CUTS", "4"))
TIMES = {**outcome.TIMES, "BUCKETLOG_RELEASE_AFTER_S": "1"}


def powered(folder: Path, kafka: str, *flags: str) -> Cluster:
    cluster = Cluster(folder, kafka, gateways=1, processors=1, datanodes=3, env=TIMES)
    for node in cluster.datanodes:
        node.command = [sys.executable, "-m", "tests.cluster.power_node", *flags]
    return cluster


def cut_all(nodes: list[Role], rng: random.Random) -> None:
    """At once: no copy elsewhere saves what was not synced."""
    for node in nodes:
        node.kill()
    for node in nodes:
        cut(node.data, rng)
    for node in nodes:
        node.start()
    for node in nodes:
        node.wait()


def test_nothing_acknowledged_is_lost_when_the_power_of_all_data_nodes_fails(tmp_path: Path, kafka: str) -> None:
    rng = random.Random(CUTS)
    with powered(tmp_path, kafka) as cluster:
        clients = start_clients(cluster, 8, 0.02)
        for _ in range(CUTS):
            time.sleep(rng.uniform(0.5, 2))
            cut_all(cluster.datanodes, rng)
        stop_clients(clients)
        check_all(cluster, clients)


def test_data_nodes_that_skip_the_sync_are_caught(tmp_path: Path, kafka: str) -> None:
    with powered(tmp_path, kafka, "--skip-sync") as cluster:
        wait_until_whole(cluster, WHOLE_S)
        s3 = cluster.client()
        s3.create_bucket(Bucket="photos")
        body = os.urandom(2 << 20)
        s3.put_object(Bucket="photos", Key="large", Body=body)
        cut_all(cluster.datanodes, random.Random(1))
        with pytest.raises((ClientError, BotoCoreError)):
            s3.get_object(Bucket="photos", Key="large")["Body"].read()
