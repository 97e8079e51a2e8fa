"""A data node is cut off: it lives, and nobody hears of it. Then two faults at once, of data nodes, gateways, processors
and brokers. Nothing acknowledged is lost, and all goes on.
"""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cluster.machine import HERE, Namespace, add_far_node, namespace, needs_root, small_disks
from tests.cluster.outcome import CLIENTS, FAILOVER_S, IS_BUSY, OUTAGE_S, PAUSE_S, TIMES, WHOLE_S, check_all, report
from tests.cluster.state import wait_until_whole
from tests.kafka.broker import Broker
from tests.kafka.brokers import bootstrap, brokers, wait_until_in_sync
from tests.kafka.cluster import Cluster, Role
from tests.load.clients import Client, start_clients, stop_clients
from tests.simulation.seeds import first_seed

pytestmark = [pytest.mark.kafka, pytest.mark.faults, pytest.mark.cluster, pytest.mark.timed, needs_root]
ROUNDS = int(os.environ.get("BUCKETLOG_TEST_ROUNDS", "1"))
PAIRS_EACH = 3  # of a round, new ones with each commit: ten go through all of them
DATA_OUTAGE_S = 8.0 if IS_BUSY else 4.0  # where two data nodes fail: a request may find out about both, one after the other
ANSWERED = 0.6  # who knows only the gateway that is down is refused 20 times a second
DATA_NODES = ("node0", "node1", "node2", "far")
CUT_OFF_S = (2.0, 30.0)
AWAY_S, GATEWAY_AWAY_S = (2.0, 20.0), 1.0  # half of the clients know no other gateway
DISK_MIB, LEFT_MIB, FILLED_AT_ONCE_MIB = 1024, 4, 32


class Fault(NamedTuple):
    what: str
    on: str  # two at once are on different ones
    harm: Callable[[], object]
    heal: Callable[[], object]


class Site(NamedTuple):
    cluster: Cluster
    brokers: Sequence[Broker]
    far: Namespace  # of the data node of that name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with namespace() as far, brokers(folder, 3, HERE) as made:
        cluster = Cluster(folder, bootstrap(made), datanodes=3, replication=3, env=TIMES, host=HERE)
        add_far_node(cluster, far)
        with small_disks([node.data for node in cluster.datanodes], DISK_MIB), cluster:
            yield Site(cluster, made, far)


def clients_of(site: Site, bucket: str) -> list[Client]:
    wait_until_whole(site.cluster, WHOLE_S)
    return start_clients(site.cluster, CLIENTS, PAUSE_S, bucket)


def killed(role: Role, on: str) -> Fault:
    return Fault(f"{on} killed", on, role.kill, lambda: role.start().wait())


def paused(role: Role, on: str) -> Fault:
    return Fault(f"{on} paused", on, lambda: role.send(signal.SIGSTOP), lambda: role.send(signal.SIGCONT))


def cut_off(far: Namespace) -> Fault:
    return Fault("far cut off", "far", lambda: far.set_link("down"), lambda: far.set_link("up"))


def filled(disk: Path) -> Fault:
    ballast = disk / "ballast"

    def fill() -> None:
        with ballast.open("wb") as file, contextlib.suppress(OSError):  # the node takes room meanwhile
            while (room := shutil.disk_usage(disk).free - (LEFT_MIB << 20)) > 0:
                os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), min(room, FILLED_AT_ONCE_MIB << 20))

    return Fault(f"disk of {disk.name} full", disk.name, fill, ballast.unlink)


def broker_killed(made: Sequence[Broker], rng: random.Random) -> Fault:
    down: list[Broker] = []

    def harm() -> None:
        down.append(rng.choice(made))
        down[0].kill()

    def heal() -> None:
        down.pop().start().wait()
        wait_until_in_sync(made)

    return Fault("broker killed", "broker", harm, heal)


def faults(site: Site, rng: random.Random) -> list[Fault]:
    one, two, three, _ = site.cluster.datanodes
    return [
        killed(one, "node0"),
        killed(two, "node1"),
        paused(two, "node1"),
        filled(three.data),
        cut_off(site.far),
        killed(site.cluster.gateways[0], "gateway"),
        killed(site.cluster.processors[0], "processor"),
        broker_killed(site.brokers, rng),
    ]


def bound_s(pair: Sequence[Fault]) -> float:
    return DATA_OUTAGE_S if all(fault.on in DATA_NODES for fault in pair) else FAILOVER_S


def test_a_data_node_may_be_cut_off(site: Site) -> None:
    rng, clients = random.Random(4), clients_of(site, "cut-off")
    for _ in range(ROUNDS):
        time.sleep(rng.uniform(2, 5))
        site.far.set_link("down")
        time.sleep(rng.uniform(*CUT_OFF_S))
        site.far.set_link("up")
        time.sleep(rng.uniform(5, 15))
    stop_clients(clients)
    outage_s = report(clients, "data node cut off")
    check_all(site.cluster, clients)
    assert outage_s <= OUTAGE_S


def test_any_two_may_fail_at_once(site: Site) -> None:
    seed = first_seed()
    print(f"the pairs of BUCKETLOG_TEST_FIRST_SEED={seed}")
    rng = random.Random(seed)
    pairs = [pair for pair in combinations(faults(site, rng), 2) if pair[0].on != pair[1].on]
    rng.shuffle(pairs)
    outages: list[tuple[str, float, float]] = []  # what failed, seconds, at most so many
    clients = clients_of(site, "pairs")
    for number in range(PAIRS_EACH * ROUNDS):
        pair = pairs[number % len(pairs)]
        time.sleep(rng.uniform(2, 4))
        started = time.monotonic()
        for fault in pair:
            fault.harm()
        away_s = rng.uniform(*AWAY_S)
        time.sleep(GATEWAY_AWAY_S if "gateway" in (each.on for each in pair) else away_s)
        for fault in pair:
            fault.heal()
        time.sleep(rng.uniform(8, 12))
        outage_s = max(each.longest_outage_since_s(started) for each in clients)
        outages.append((" and ".join(fault.what for fault in pair), outage_s, bound_s(pair)))
        print(f"{outages[-1][0]}: longest outage {outage_s:.1f} s")
    stop_clients(clients)
    report(clients, "two at once", ANSWERED)
    check_all(site.cluster, clients)
    assert [what for what, outage_s, most_s in outages if outage_s > most_s] == []
