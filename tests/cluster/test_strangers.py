"""Data nodes that must not be believed: each is refused with a line that says what to do, and harms nobody. One that only
has a wrong clock is believed, and told of it."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.state import state, wait_until_whole
from tests.kafka.cluster import Cluster, Role
from tests.server import BUCKETLOG

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.cluster]
TIMES = {"BUCKETLOG_GRACE_S": "3"}
WITHIN_S = 40.0


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), kafka, datanodes=2, env=TIMES) as made:
        wait_until_whole(made, WITHIN_S)
        yield made


class Stranger:
    """A data node process whose words are kept."""

    def __init__(self, role: Role, log: Path) -> None:
        self.role = role
        self._log = log
        with log.open("wb") as file:
            command = [*role.command, "datanode", "--port", str(role.port), "--data", str(role.data)]
            role.process = subprocess.Popen(command, env=role.env, stdout=file, stderr=file)

    def said(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + WITHIN_S
        while text not in self.said():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.2)

    def end(self) -> None:
        if self.role.is_running():
            self.role.kill()


def check_unharmed(cluster: Cluster, names: set[str]) -> None:
    """It is no part of the cluster, which goes on."""
    assert set(state(cluster).placement.nodes) == names
    s3, bucket = cluster.client(), f"unharmed-{time.monotonic_ns()}"
    s3.create_bucket(Bucket=bucket)
    for size in (1000, 1 << 20):
        s3.put_object(Bucket=bucket, Key="k", Body=bytes(size))
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == bytes(size)


def test_a_data_folder_of_another_cluster_is_refused(cluster: Cluster, tmp_path: Path, kafka: str) -> None:
    with Cluster(tmp_path / "other", kafka, gateways=0, processors=1, datanodes=1):
        pass
    role = cluster.new_datanode("foreign")
    shutil.copytree(tmp_path / "other" / "node0", role.data)
    stranger = Stranger(role, tmp_path / "log")
    assert role.process is not None
    assert role.process.wait(WITHIN_S) == 1
    assert "belongs to another cluster" in stranger.said()
    check_unharmed(cluster, {"node0", "node1"})


def test_a_wrong_secret_is_not_heard(cluster: Cluster, tmp_path: Path) -> None:
    role = cluster.new_datanode("unknown")
    role.env["BUCKETLOG_CLUSTER_SECRET"] = "quite another secret"
    stranger = Stranger(role, tmp_path / "log")
    stranger.wait_for("is not in the cluster's map")
    assert not role.is_ready()
    stranger.end()
    check_unharmed(cluster, {"node0", "node1"})


def test_a_second_node_of_a_name_is_refused_while_the_first_is_up(cluster: Cluster, tmp_path: Path) -> None:
    role = cluster.new_datanode("node0")
    role.data = tmp_path / "second"
    stranger = Stranger(role, tmp_path / "log")
    stranger.wait_for("no other node of this name up")
    assert not role.is_ready()
    stranger.end()
    assert cluster.datanodes[0].is_ready()
    check_unharmed(cluster, {"node0", "node1"})


def test_a_copied_folder_takes_over_and_the_first_process_stops(cluster: Cluster, tmp_path: Path) -> None:
    """Two processes with one identity cannot both be right: the one that came last is, as after a restart elsewhere."""
    first = cluster.datanodes[1]
    second = cluster.new_datanode("node1")
    second.data = tmp_path / "copy"
    assert first.stop() == 0
    shutil.copytree(first.data, second.data)
    first.start().wait()
    assert BUCKETLOG in second.command
    second.start().wait()
    assert first.process is not None
    assert first.process.wait(WITHIN_S) != 0
    check_unharmed(cluster, {"node0", "node1"})
    assert second.stop() == 0
    first.start().wait()


def test_a_clock_that_is_an_hour_off_is_named_and_the_node_takes_part(cluster: Cluster, tmp_path: Path) -> None:
    role = cluster.new_datanode("late")
    role.command = [sys.executable, "-m", "tests.cluster.wrong_clock"]
    stranger = Stranger(role, tmp_path / "log")
    stranger.wait_for("clock is 36")
    deadline = time.monotonic() + WITHIN_S
    while not role.is_ready():  # it takes part
        assert time.monotonic() < deadline, stranger.said()
        time.sleep(0.2)
    check_unharmed(cluster, {"node0", "node1", "late"})
    stranger.end()
