"""Disks fill up, lose their index, the end of a volume, or single bits: nothing wrong is served, and all comes back."""

import os
import random
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.machine import needs_root, small_disks
from tests.cluster.outcome import WHOLE_S, check_copies
from tests.cluster.state import state, wait_until_whole
from tests.flips import flip
from tests.kafka.cluster import Cluster, Role

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.cluster]
FLIPS = int(os.environ.get("BUCKETLOG_TEST_FLIPS", "40"))
NODES = 4
SIZES = [100, 4096, 70_000, 300_000, 1_500_000]
TIMES = {
    "BUCKETLOG_RELEASE_AFTER_S": "1",
    "BUCKETLOG_SCRUB_EVERY_S": "3",
    "BUCKETLOG_ORPHAN_AFTER_S": "5",
    "BUCKETLOG_SWEEP_EVERY_S": "1",
}
SMALL_DISK_MIB, BALLAST_MIB = 240, 180  # and what else is on one of them


class Objects:
    """What was written, by key."""

    def __init__(self, cluster: Cluster, count: int, size: int = 0) -> None:
        self.s3 = cluster.client(max_pool_connections=8)
        self._bodies: dict[str, bytes] = {}
        self._bucket = f"disks-{uuid.uuid4().hex[:8]}"
        self.s3.create_bucket(Bucket=self._bucket)
        rng = random.Random(count)
        with ThreadPoolExecutor(8) as pool:
            bodies = {f"k{number:04}": rng.randbytes(size or rng.choice(SIZES)) for number in range(count)}
            list(pool.map(self._put, bodies.items()))

    def _put(self, each: tuple[str, bytes]) -> None:
        key, body = each
        self.s3.put_object(Bucket=self._bucket, Key=key, Body=body)
        self._bodies[key] = body

    def check(self) -> None:
        def read(key: str) -> bytes:
            body: bytes = self.s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            return body

        with ThreadPoolExecutor(8) as pool:
            for key, found in zip(self._bodies, pool.map(read, self._bodies), strict=True):
                assert found == self._bodies[key], key

    def delete_all(self) -> None:
        for key in list(self._bodies):
            self.s3.delete_object(Bucket=self._bucket, Key=key)
            del self._bodies[key]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, kafka: str) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), kafka, gateways=1, processors=1, datanodes=NODES, env=TIMES) as made:
        wait_until_whole(made, WHOLE_S)
        yield made


def volumes_of(node: Role) -> list[Path]:
    return sorted(node.data.glob("volumes/*.vol"))


def truncate(node: Role) -> None:
    largest = max(volumes_of(node), key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 3)


def lose_a_volume(node: Role) -> None:
    max(volumes_of(node), key=lambda path: path.stat().st_size).unlink()


def lose_index(node: Role) -> None:
    shutil.rmtree(node.data / "index")


def lose_all_blobs(node: Role) -> None:
    shutil.rmtree(node.data / "index")
    shutil.rmtree(node.data / "volumes")


def flip_one(paths: Iterable[Path], rng: random.Random) -> None:
    """A bit, somewhere in one of the files."""
    path = rng.choice([path for path in paths if path.stat().st_size])
    flip(path, rng.randrange(path.stat().st_size), 1 << rng.randrange(8))


@pytest.mark.parametrize("harm", [truncate, lose_a_volume, lose_index, lose_all_blobs])
def test_what_a_node_lost_comes_back(cluster: Cluster, harm: Callable[[Role], None]) -> None:
    objects = Objects(cluster, 60)
    wait_until_whole(cluster, WHOLE_S)
    node = cluster.datanodes[2]
    node.kill()
    harm(node)
    objects.check()
    node.start().wait()
    objects.check()
    check_copies(cluster)
    objects.check()


def test_flipped_bits_are_never_served_and_are_repaired(cluster: Cluster) -> None:
    objects = Objects(cluster, 80)
    wait_until_whole(cluster, WHOLE_S)
    rng = random.Random(11)
    for _ in range(max(1, FLIPS // 10)):
        node = rng.choice(cluster.datanodes)
        for _ in range(10):  # of one node at a time: the others have the whole ones
            flip_one(volumes_of(node), rng)
        objects.check()
        time.sleep(4)  # a scrub
    check_copies(cluster)
    objects.check()


def test_an_index_with_flipped_bits_is_made_anew(cluster: Cluster) -> None:
    objects = Objects(cluster, 60)
    wait_until_whole(cluster, WHOLE_S)
    rng = random.Random(5)
    for _ in range(max(1, FLIPS // 5)):
        node = rng.choice(cluster.datanodes)
        node.kill()
        for _ in range(5):
            flip_one((node.data / "index").iterdir(), rng)
        node.start()
        objects.check()
        time.sleep(5)  # a scrub, which reads all of the index
        if not node.is_running():  # it has told of the damage and ended
            node.start()
        node.wait()
        wait_until_whole(cluster, WHOLE_S)
    check_copies(cluster)
    objects.check()


@needs_root
def test_a_full_disk_turns_its_node_read_only_and_costs_no_answer(tmp_path: Path, kafka: str) -> None:
    folders = [tmp_path / f"node{number}" for number in range(NODES)]
    with small_disks(folders, SMALL_DISK_MIB), Cluster(tmp_path, kafka, gateways=1, datanodes=NODES, env=TIMES) as cluster:
        wait_until_whole(cluster, WHOLE_S)
        ballast = folders[1] / "ballast"
        ballast.write_bytes(bytes(BALLAST_MIB << 20))
        objects = Objects(cluster, 2 * (SMALL_DISK_MIB - BALLAST_MIB), 1 << 20)
        assert wait_for(lambda: state(cluster).placement.nodes["node1"].is_full)
        objects.check()
        objects.delete_all()
        ballast.unlink()
        assert wait_for(lambda: not state(cluster).placement.nodes["node1"].is_full)
        check_copies(cluster)


def wait_for(what: Callable[[], Any], within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True
