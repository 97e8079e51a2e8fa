"""The power fails in the middle of everything: as test_kill, on a disk that loses what was not synced."""

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.faults.power import cut
from tests.load.checks import check, check_twice
from tests.load.clients import CLIENTS, Client, start_clients, stop_clients
from tests.server import Server

pytestmark = pytest.mark.faults
CUTS = int(os.environ.get("BUCKETLOG_TEST_CUTS", "10"))
ROUND = 50  # on one folder: what unfinished uploads leave behind makes each start slower


def _server(data: Path, *flags: str) -> Server:
    return Server(data, module="tests.faults.power", flags=flags)


def _cut_often(server: Server, clients: list[Client], cuts: int, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(cuts):
        time.sleep(rng.uniform(0.2, 1.2))
        server.kill()
        cut(server.data, rng)
        server.start()
    stop_clients(clients)


@pytest.mark.parametrize("seed", range((CUTS + ROUND - 1) // ROUND))
def test_nothing_acknowledged_is_lost(tmp_path: Path, seed: int) -> None:
    server = _server(tmp_path / "data").start()
    clients = start_clients(server)
    cuts = min(ROUND, CUTS - seed * ROUND)
    _cut_often(server, clients, cuts, seed)
    assert sum(client.acknowledged for client in clients) > cuts * CLIENTS
    check_twice(server, clients)


def test_a_store_that_skips_the_sync_is_caught(tmp_path: Path) -> None:
    server = _server(tmp_path / "data", "--skip-sync").start()
    clients = start_clients(server)
    rng = random.Random(3)
    time.sleep(1)
    stop_clients(clients)
    server.kill()
    cut(server.data, rng)
    shutil.rmtree(server.data / "view")  # else the store itself tells that its log has lost what the view knows
    with pytest.raises((AssertionError, ClientError)):
        check(server.start(), clients)
    server.kill()
