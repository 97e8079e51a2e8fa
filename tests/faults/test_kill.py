"""kill -9 in the middle of everything: 16 clients write, overwrite, delete, upload in parts and read while the store is
killed again and again; then every acknowledged write is there and intact, and the stream has each once."""

import os
import random
import time
from pathlib import Path

import pytest

from tests.load.checks import check_twice
from tests.load.clients import CLIENTS, start_clients, stop_clients
from tests.server import Server

pytestmark = pytest.mark.faults
KILLS = int(os.environ.get("BUCKETLOG_TEST_KILLS", "10"))


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    clients = start_clients(server)
    rng = random.Random(1)
    for _ in range(KILLS):
        time.sleep(rng.uniform(0.5, 1.5))
        server.kill()
        server.start()
    stop_clients(clients)
    assert sum(client.acknowledged for client in clients) > KILLS * CLIENTS
    check_twice(server, clients)
