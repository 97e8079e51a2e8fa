"""`make cluster`: what it lacks is told in a line; Ctrl-C stops all that it started; it finds its data again."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kafka.local import PORTS, CannotStart, check_tools
from tests.required import missing
from tests.server import ACCESS_KEY, SECRET_KEY, client_of

COMMAND = [sys.executable, "-m", "tests.kafka.local", "--data"]
ENDPOINTS = [f"http://127.0.0.1:{PORTS['gateway'] + number}" for number in range(2)]


def test_missing_tools_are_told_in_one_line(tmp_path: Path) -> None:
    env = {"PATH": "", "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([*COMMAND, str(tmp_path / "data")], check=False, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1)
    assert "not found: java, mvn" in done.stderr


@contextmanager
def cluster(folder: Path) -> Iterator[list[int]]:
    """The ids of its processes; at the end Ctrl-C, as a terminal sends it: to the whole group in the foreground."""
    keys = {"BUCKETLOG_ACCESS_KEY_ID": ACCESS_KEY, "BUCKETLOG_SECRET_ACCESS_KEY": SECRET_KEY}
    started = subprocess.Popen(
        [*COMMAND, str(folder)], stdout=subprocess.PIPE, text=True, env={**os.environ, **keys}, process_group=0
    )
    assert started.stdout is not None
    pids: list[int] = []
    try:
        for line in started.stdout:
            pids += map(int, re.findall(r"pid (\d+)", line))
            if line.startswith("Ctrl-C"):
                break
        yield pids
    finally:
        os.killpg(started.pid, signal.SIGINT)
        assert started.wait(120) == 0
        started.stdout.close()


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def body(s3: Any) -> bytes:
    found: bytes = s3.get_object(Bucket="photos", Key="k")["Body"].read()
    return found


@pytest.fixture
def can_run() -> None:
    try:
        check_tools()
    except CannotStart as error:
        missing("kafka", str(error))
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORTS["gateway"])) == 0:
            missing("ports", "the ports are taken: stop the cluster or the store that runs on this machine")


@pytest.mark.kafka
@pytest.mark.nightly
@pytest.mark.usefixtures("can_run")
def test_ctrl_c_stops_every_process_and_the_next_start_has_the_data(tmp_path: Path) -> None:
    with cluster(tmp_path) as pids:
        client_of(ENDPOINTS[0]).create_bucket(Bucket="photos")
        client_of(ENDPOINTS[0]).put_object(Bucket="photos", Key="k", Body=b"1" * (1 << 20))
        assert len(pids) == 3 + 4 + 2 + 2
        assert all(map(is_alive, pids))
    assert not any(map(is_alive, pids))
    with cluster(tmp_path):
        assert [body(client_of(each)) for each in ENDPOINTS] == [b"1" * (1 << 20)] * 2
