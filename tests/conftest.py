"""Fixtures that several suites share."""

import os
from collections.abc import Iterator

import pytest

from tests.kafka.broker import NoBroker, any_broker
from tests.server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One running store for all tests that do not harm it."""
    running = Server(tmp_path_factory.mktemp("server") / "data").start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real broker; skips, loudly, where there can be none and none is required."""
    try:
        with any_broker(tmp_path_factory.mktemp("kafka")) as bootstrap:
            yield bootstrap
    except NoBroker as error:
        if os.environ.get("BUCKETLOG_TEST_KAFKA_REQUIRED"):
            pytest.fail(str(error))
        pytest.skip(str(error))
