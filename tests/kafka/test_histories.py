"""Histories of hot keys on a cluster whose owners are killed, paused and restarted: no read is stale, by any gateway."""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kafka.cluster import Cluster
from tests.linearizability.checker import Operation, check
from tests.linearizability.clients import BUCKETS, HotClient

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
ROUNDS = int(os.environ.get("BUCKETLOG_TEST_ROUNDS", "2"))  # of each fault
CLIENTS = 8
SETTLED_S = 13.0  # from a fault to the end of the outage that it makes
READ_TIMEOUT_S = 25


@contextmanager
def hot_clients(cluster: Cluster) -> Iterator[list[HotClient]]:
    for bucket in BUCKETS:
        cluster.client().create_bucket(Bucket=bucket)
    clients = [
        HotClient(cluster.client(gateway=number % 2, read_timeout=READ_TIMEOUT_S), number, seed=number)
        for number in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    try:
        yield clients
    finally:
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join(READ_TIMEOUT_S + 5)


def stale(history: list[Operation]) -> list[Operation]:
    """The same history with one read that tells what was overwritten long before it began."""
    reads = [each for each in history if each.kind == "read" and each.value is not None]
    for old in reads:
        for new in reversed(reads):
            assert old.ended is not None
            if new.key == old.key and new.value != old.value and new.started > old.ended + 1:
                return [*history, new._replace(value=old.value, started=new.started + 1e3, ended=new.started + 1e3 + 1)]
    raise AssertionError("no key was overwritten")


def test_no_read_is_stale_whatever_happens_to_owners(tmp_path: Path, kafka: str) -> None:
    rng = random.Random(7)
    with Cluster(tmp_path, kafka) as cluster:
        with hot_clients(cluster) as clients:
            for fault in ["killed", "paused", "restarted"] * ROUNDS:
                time.sleep(rng.uniform(1, 3))
                owner = cluster.owner(rng.choice(BUCKETS))
                match fault:
                    case "killed":
                        owner.kill()
                        time.sleep(SETTLED_S)
                        owner.start().wait()
                    case "paused":
                        owner.send(signal.SIGSTOP)
                        time.sleep(SETTLED_S)
                        owner.send(signal.SIGCONT)
                    case _:
                        assert owner.stop() == 0
                        owner.start().wait()
            time.sleep(2)
        history = [operation for client in clients for operation in client.operations]
        unknown = sum(each.ended is None for each in history)
        print(f"{len(history)} operations, {unknown} of unknown outcome")
        assert check(history) is None
        assert check(stale(history)) is not None
