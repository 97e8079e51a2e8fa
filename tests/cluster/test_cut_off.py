"""A data node in a network namespace of its own, whose link goes down: it lives, and nobody hears of it."""

import os
import random
import time
from pathlib import Path

import pytest

from tests.cluster.machine import HERE, add_far_node, namespace, needs_root
from tests.cluster.outcome import CLIENTS, OUTAGE_S, PAUSE_S, TIMES, WHOLE_S, check_all, report
from tests.cluster.state import wait_until_whole
from tests.kafka.broker import Broker
from tests.kafka.cluster import Cluster
from tests.load.clients import start_clients, stop_clients

ROUNDS = int(os.environ.get("BUCKETLOG_TEST_ROUNDS", "1"))
AWAY_S = (2.0, 30.0)
pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.cluster, needs_root]


def test_a_data_node_may_be_cut_off(tmp_path: Path) -> None:
    rng = random.Random(4)
    with namespace() as far:
        broker = Broker(tmp_path / "broker", host=HERE).start().wait()
        try:
            cluster = Cluster(tmp_path, broker.bootstrap, datanodes=3, env=TIMES, host=HERE)
            add_far_node(cluster, far)
            with cluster:
                wait_until_whole(cluster, WHOLE_S)
                clients = start_clients(cluster, CLIENTS, PAUSE_S)
                for _ in range(ROUNDS):
                    time.sleep(rng.uniform(2, 5))
                    far.set_link("down")
                    time.sleep(rng.uniform(*AWAY_S))
                    far.set_link("up")
                    time.sleep(rng.uniform(5, 15))
                stop_clients(clients)
                outage_s = report(clients, "data node cut off")
                check_all(cluster, clients)
                assert outage_s <= OUTAGE_S
        finally:
            broker.stop()
