"""A disk of `serve` is lost, whichever it is, or breaks while the store runs: the log and the payloads are on others."""

import fcntl
import json
import os
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.bucketlog.shell import wait_until_whole
from tests.load.checks import check, check_stream
from tests.load.clients import Client, start_clients, stop_clients, wait_for_answers
from tests.required import missing
from tests.server import Server

pytestmark = pytest.mark.faults
CLIENTS = 8
ANSWER_S = 60.0
EXT4_SHUTDOWN, WITHOUT_FLUSH = 0x8004587D, 2  # EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH: fs/ext4/ext4.h
IMAGE_BYTES = 4 << 30  # sparse
HANGS = 3
HUNG_S = 20  # within which a file system most often takes no write any more


def start(server: Server, *folders: Path) -> None:
    """Again, on these."""
    *others, server.data = folders
    server.flags = [flag for folder in others for flag in ("--data", str(folder))]
    server.start()


def finish(server: Server, clients: list[Client]) -> None:
    stop_clients(clients)
    assert sum(client.acknowledged for client in clients) > CLIENTS
    check(server, clients)
    check_stream(server)


def test_any_disk_is_lost_under_load(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    server = Server(tmp_path / "a")
    start(server, *folders)
    clients = start_clients(server, CLIENTS)
    rng = random.Random(1)
    for lost in folders:
        time.sleep(rng.uniform(1, 3))
        server.kill()
        shutil.rmtree(lost)
        start(server, *[folder for folder in folders if folder != lost])
        wait_for_answers(clients, ANSWER_S)
        time.sleep(rng.uniform(0.5, 1))
        server.kill()
        start(server, *folders)  # with an empty one in its place
        wait_until_whole(server)
    finish(server, clients)
    assert server.stop() == 0
    for lost in folders:
        rest = [folder for folder in folders if folder != lost]
        for folder in rest:
            shutil.rmtree(folder / "view", ignore_errors=True)
        start(server, *rest)
        check(server, clients)
        check_stream(server)
        assert server.stop() == 0


@contextmanager
def file_system(image: Path, folder: Path, size: int) -> Iterator[None]:
    """Of its own, in a file."""
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(size)
    mount = ["mount", "-o", "loop", str(image), str(folder)]
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    mounted = subprocess.run(mount, check=False, capture_output=True, text=True)
    if mounted.returncode:
        missing("root", f"needs a loop device; in a container, one that is privileged: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def breakable(tmp_path: Path, root: None) -> Iterator[Path]:
    folder = tmp_path / "breakable"
    with file_system(tmp_path / "image", folder, IMAGE_BYTES):
        yield folder


@pytest.fixture
def hanging(breakable: Path) -> Iterator[Path]:
    """A disk that takes no write while the file system is frozen in which its blocks are."""
    folder = breakable.with_name("hanging")
    with file_system(breakable / "image", folder, IMAGE_BYTES // 2):
        yield folder


@contextmanager
def frozen(folder: Path) -> Iterator[None]:
    subprocess.run(["fsfreeze", "-f", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "-u", str(folder)], check=True)


def shut_down(folder: Path) -> None:
    """From here on its file system answers every write with an I/O error, as one whose device is gone."""
    file = os.open(folder, os.O_RDONLY)
    fcntl.ioctl(file, EXT4_SHUTDOWN, struct.pack("I", WITHOUT_FLUSH))
    os.close(file)


@pytest.mark.parametrize("place", [0, 2])
def test_a_disk_breaks_under_load(tmp_path: Path, breakable: Path, place: int) -> None:
    """Where it has the views, the store says that it has to be started again."""
    folders = [tmp_path / "a", tmp_path / "b"]
    folders.insert(place, breakable)
    server = Server(tmp_path / "a", stderr=tmp_path / "stderr")
    start(server, *folders)
    clients = start_clients(server, CLIENTS)
    time.sleep(2)
    shut_down(breakable)
    time.sleep(2)
    if place:
        wait_for_answers(clients, ANSWER_S)
        assert f"the log goes on without its copy on {breakable}" in (tmp_path / "stderr").read_text()
    else:
        with pytest.raises(HTTPError, match="503"):
            urlopen(f"{server.endpoint}/healthz", timeout=5)
    server.kill()
    start(server, *folders)
    told = (tmp_path / "stderr").read_text()
    assert f"data folder {breakable} cannot be used" in told
    assert f"the log goes on without its copy on {breakable}" in told
    wait_for_answers(clients, ANSWER_S)
    finish(server, clients)
    assert server.stop() == 0
    labels = [json.loads((folder / "mirror.json").read_text().splitlines()[0]) for folder in folders if folder != breakable]
    assert [list(label["generation"]["members"].values()) for label in labels] == [
        [str(tmp_path / "a"), str(tmp_path / "b")]
    ] * 2


@pytest.mark.nightly
def test_a_disk_hangs_under_load(tmp_path: Path, breakable: Path, hanging: Path) -> None:
    """One without views. The others go on without it, unless a write stood in the file system's commit when it began to
    hang: such a write holds the requests until the hang ends ("Known limits", docs/ARCHITECTURE.md). Nothing is lost then
    either, and all goes on.
    """
    server = Server(tmp_path / "a", stderr=tmp_path / "stderr")
    start(server, tmp_path / "a", hanging, tmp_path / "b")
    clients = start_clients(server, CLIENTS)
    hangs_served = 0
    for _ in range(HANGS):
        time.sleep(2)
        with frozen(breakable):
            time.sleep(1)  # for what is under way
            before = sum(client.acknowledged for client in clients)
            time.sleep(HUNG_S)
            hangs_served += sum(client.acknowledged for client in clients) > before + HUNG_S * CLIENTS
        wait_for_answers(clients, ANSWER_S)
    print(f"served through {hangs_served} of {HANGS} hangs")
    assert f"the log goes on without its copy on {hanging}" in (tmp_path / "stderr").read_text()
    finish(server, clients)
    assert server.stop() == 0
