"""Two faults at once, of data nodes, gateways and processors: nothing acknowledged is lost, and all goes on."""

import os
import random
import signal
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest

from tests.cluster.outcome import CLIENTS, PAUSE_S, TIMES, WHOLE_S, check_all, report
from tests.cluster.state import wait_until_whole
from tests.faults.workload import start_clients, stop_clients
from tests.kafka.cluster import Cluster, Role

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.cluster]
ROUNDS = int(os.environ.get("BUCKETLOG_TEST_ROUNDS", "1"))  # of two pairs each
OUTAGE_S = 15.0  # until another processor owns the partitions of one that died
ANSWERED = 0.9
AWAY_S = (2.0, 20.0)
Fault = Callable[[Cluster], tuple[Role, signal.Signals]]


def data_node_killed(cluster: Cluster) -> tuple[Role, signal.Signals]:
    return cluster.datanodes[0], signal.SIGKILL


def another_data_node_killed(cluster: Cluster) -> tuple[Role, signal.Signals]:
    return cluster.datanodes[1], signal.SIGKILL


def data_node_paused(cluster: Cluster) -> tuple[Role, signal.Signals]:
    return cluster.datanodes[2], signal.SIGSTOP


def gateway_killed(cluster: Cluster) -> tuple[Role, signal.Signals]:
    return cluster.gateways[0], signal.SIGKILL


def processor_killed(cluster: Cluster) -> tuple[Role, signal.Signals]:
    return cluster.processors[0], signal.SIGKILL


FAULTS: list[Fault] = [data_node_killed, another_data_node_killed, data_node_paused, gateway_killed, processor_killed]


def test_any_two_may_fail_at_once(tmp_path: Path, kafka: str) -> None:
    rng, pairs = random.Random(3), list(combinations(FAULTS, 2))
    rng.shuffle(pairs)
    with Cluster(tmp_path, kafka, datanodes=4, env=TIMES) as cluster:
        wait_until_whole(cluster, WHOLE_S)
        clients = start_clients(cluster, CLIENTS, PAUSE_S)
        for pair in (pairs * ROUNDS)[: 2 * ROUNDS]:
            time.sleep(rng.uniform(2, 4))
            harmed = [fault(cluster) for fault in pair]
            for role, number in harmed:
                role.send(number)
            away_s = rng.uniform(*AWAY_S)
            time.sleep(1.0 if gateway_killed in pair else away_s)  # half of the clients know no other gateway
            for role, number in harmed:
                role.recover(number)
            time.sleep(rng.uniform(8, 12))
            print(*(fault.__name__ for fault in pair), [round(each.longest_outage_s, 1) for each in clients])
        stop_clients(clients)
        outage_s = report(clients, "two at once", ANSWERED)
        check_all(cluster, clients)
        assert outage_s <= OUTAGE_S
