"""What takes root to make for a data node: a network namespace whose link goes down, a disk of a few megabytes."""

import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kafka.cluster import Cluster

HERE, THERE = "10.213.77.1", "10.213.77.2"  # the two ends of the link
needs_root = pytest.mark.usefixtures("root")


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


def add_far_node(cluster: Cluster, far: Namespace) -> None:
    """A data node at the other end of the link."""
    node = cluster.new_datanode("far", host=THERE)
    node.command = far.run(*node.command)
    cluster.datanodes.append(node)


@contextmanager
def small_disks(folders: Sequence[Path], mib: int) -> Iterator[None]:
    """Each folder, which is new, on a file system of its own."""
    with ExitStack() as mounted:
        for folder in folders:
            folder.mkdir(parents=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)], check=True)
            mounted.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
        yield
