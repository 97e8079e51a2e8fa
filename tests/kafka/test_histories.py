"""Clients without retries on hot keys of a cluster under faults: their history is linearizable, their outages short. Beside
them, while owners are killed and paused, others write large objects, in parts too: none that was acknowledged is lost.
"""

import os
import random
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kafka.cluster import Cluster, Role
from tests.linearizability.checker import check
from tests.linearizability.history import kept_on_failure
from tests.linearizability.load import BUCKETS, Load
from tests.linearizability.operations import Operation
from tests.linearizability.outages import outages
from tests.linearizability.recorder import Attempt
from tests.linearizability.stream import check_events
from tests.load import checks
from tests.load.checks import check_stream, stream
from tests.load.clients import BUCKET, start_clients, stop_clients, wait_for_answers

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.timed]
ROUNDS = int(os.environ.get("BUCKETLOG_TEST_ROUNDS", "1"))  # of each fault
UNDER_LOAD, ALONE = ["processor killed", "processor paused"], ["processor restarted", "gateway killed"]
OUTAGES_S = {"processor killed": 15.0, "processor restarted": 1.0}  # at most, for reads and for writes of any bucket
WRITERS, PAUSE_S = 4, 0.2  # of large objects: leaves time for the others on a machine of two cores
PAUSED_S = 13.0  # longer than the session
SETTLED_S = 3.0
SERVED_S = 40.0


class Window(NamedTuple):
    """From one fault to the next."""

    fault: str
    started: float
    ended: float

    def of(self, attempts: Iterable[Attempt]) -> list[Attempt]:
        return [each for each in attempts if self.started <= each.started < self.ended]


def inflict(fault: str, cluster: Cluster, owner: Role, load: Load) -> None:
    match fault:
        case "processor killed":
            owner.kill()
            load.wait_until_served(SERVED_S)
            owner.start().wait()
        case "processor paused":
            owner.send(signal.SIGSTOP)
            time.sleep(PAUSED_S)
            owner.send(signal.SIGCONT)
        case "processor restarted":
            assert owner.stop() == 0
            owner.start().wait()
        case "gateway killed":
            cluster.gateways[0].kill()
            time.sleep(SETTLED_S)
            cluster.gateways[0].start().wait()
    load.wait_until_served(SERVED_S)
    time.sleep(SETTLED_S)


def stale(history: list[Operation]) -> list[Operation]:
    """The same history with one read that tells what was overwritten long before it began."""
    reads = [each for each in history if each.kind == "read" and each.value is not None]
    for old in reads:
        for new in reversed(reads):
            assert old.ended is not None
            if new.key == old.key and new.value != old.value and new.started > old.ended + 1:
                return [*history, new._replace(value=old.value, started=new.started + 1e3, ended=new.started + 1e3 + 1)]
    raise AssertionError("no key was overwritten")


def test_histories_under_faults_are_linearizable(tmp_path: Path, kafka: str) -> None:
    windows: list[Window] = []

    def inflict_all(faults: list[str], buckets: list[str]) -> None:
        for fault in faults * ROUNDS:
            started = time.monotonic()
            inflict(fault, cluster, cluster.owner(rng.choice(buckets)), load)
            windows.append(Window(fault, started, time.monotonic()))

    rng = random.Random(7)
    with Cluster(tmp_path, kafka) as cluster:
        load = Load([each.endpoint for each in cluster.gateways]).start()
        with kept_on_failure("cluster", lambda: load.operations):
            clients = start_clients(cluster, WRITERS, PAUSE_S)
            inflict_all(UNDER_LOAD, [BUCKET])
            wait_for_answers(clients, SERVED_S)
            stop_clients(clients)
            inflict_all(ALONE, BUCKETS)
            load.stop()
            checks.check(cluster, clients)
            check_stream(cluster)
            print(load.summary)
            assert load.wrong == []
            assert check(load.operations) is None
            assert check(stale(load.operations)) is not None
            for bucket in BUCKETS:
                assert check_events(bucket, stream(cluster, bucket), load.operations) == []
    attempts = load.attempts
    for fault in dict.fromkeys(each.fault for each in windows):
        longest_s = [
            max(outages(each.of(attempts), lambda one: (one.bucket, one.is_write)).values())
            for each in windows
            if each.fault == fault
        ]
        print(f"{fault}: longest outages {', '.join(f'{each:.1f}' for each in sorted(longest_s))} s")
        assert max(longest_s) <= OUTAGES_S.get(fault, SERVED_S)
    for window in windows:
        if window.fault in {"gateway killed", "processor restarted"}:
            elsewhere = [each for each in window.of(attempts) if load.endpoint(each.client) != load.endpoints[0]]
            assert [each.error for each in elsewhere if each.error] == []
