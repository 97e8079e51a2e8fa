"""Fixtures that several suites share."""

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.kafka.broker import NoBroker, any_broker
from tests.kafka.cluster import Cluster
from tests.required import missing
from tests.server import Server

STORE = os.environ.get("BUCKETLOG_TEST_STORE", "one process")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a cluster only what needs a running store is another test than on one process."""
    if STORE == "cluster":
        others = [each for each in items if "server" not in getattr(each, "fixturenames", ())]
        config.hook.pytest_deselected(items=others)
        items[:] = [each for each in items if each not in others]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server | Cluster]:
    """A running store for all tests that do not harm it: one process, or a cluster if BUCKETLOG_TEST_STORE=cluster."""
    folder = tmp_path_factory.mktemp("server")
    if STORE == "cluster":
        with Cluster(folder, request.getfixturevalue("kafka")) as cluster:
            yield cluster
    else:
        server = Server(folder / "data").start()
        yield server
        assert server.stop() == 0


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real broker."""
    try:
        with any_broker(tmp_path_factory.mktemp("kafka")) as bootstrap:
            yield bootstrap
    except NoBroker as error:
        missing("kafka", str(error))


@pytest.fixture(scope="session")
def root() -> None:
    """The right to make network namespaces and file systems, and the commands for it."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("mkfs.ext4") is None:
        missing("root", "makes network namespaces and small disks: needs root, and the packages iproute2 and e2fsprogs")
