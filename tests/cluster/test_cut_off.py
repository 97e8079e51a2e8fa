"""A data node in a network namespace of its own, whose link goes down: it lives, and nobody hears of it."""

import os
import random
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cluster.outcome import CLIENTS, OUTAGE_S, PAUSE_S, TIMES, WHOLE_S, check_all, report
from tests.cluster.state import wait_until_whole
from tests.faults.workload import start_clients, stop_clients
from tests.kafka.broker import Broker
from tests.kafka.cluster import Cluster

ROUNDS = int(os.environ.get("BUCKETLOG_TEST_ROUNDS", "1"))
AWAY_S = (2.0, 30.0)
HERE, THERE = "10.213.77.1", "10.213.77.2"
pytestmark = [
    pytest.mark.kafka,
    pytest.mark.faults,
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="makes a network namespace"),
]


class Namespace(NamedTuple):
    name: str

    def run(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *command]

    def set_link(self, state: str) -> None:
        """`up` or `down`."""
        subprocess.run(self.run("ip", "link", "set", "there", state), check=True)


@contextmanager
def namespace() -> Iterator[Namespace]:
    made = Namespace(f"bucketlog-{uuid.uuid4().hex[:6]}")
    link = made.name[-6:] + "-here"
    subprocess.run(["ip", "netns", "add", made.name], check=True)
    try:
        for command in (
            ["ip", "link", "add", link, "type", "veth", "peer", "name", "there", "netns", made.name],
            ["ip", "addr", "add", f"{HERE}/24", "dev", link],
            ["ip", "link", "set", link, "up"],
            made.run("ip", "addr", "add", f"{THERE}/24", "dev", "there"),
            made.run("ip", "link", "set", "lo", "up"),
            made.run("ip", "link", "set", "there", "up"),
        ):
            subprocess.run(command, check=True)
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.name], check=True)  # and with it the link


def test_a_data_node_may_be_cut_off(tmp_path: Path) -> None:
    rng = random.Random(4)
    with namespace() as far:
        broker = Broker(tmp_path / "broker", host=HERE).start().wait()
        try:
            cluster = Cluster(tmp_path, broker.bootstrap, datanodes=3, env=TIMES, host=HERE)
            node = cluster.new_datanode("far", host=THERE)
            node.command = far.run(*node.command)
            cluster.datanodes.append(node)
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
