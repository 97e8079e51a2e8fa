"""Space comes back: what was overwritten and deleted many times over leaves the disk."""

import os
import random
import time
from pathlib import Path

import pytest
from botocore.exceptions import IncompleteReadError, ResponseStreamingError
from urllib3.exceptions import ProtocolError

from tests.load.slow_read import BYTES, survives_an_overwrite
from tests.server import Server

pytestmark = pytest.mark.faults
KEYS, ROUNDS = 40, 10
SIZES = [20_000, 100_000, 400_000, 2_000_000]
OF_LIVE = 1.5
WITHIN_S = 60.0


def taken_bytes(data: Path) -> int:
    """By payloads, in blocks of the file system."""
    return sum(path.stat().st_blocks * 512 for path in data.glob("volumes/*"))


def test_overwritten_and_deleted_payloads_leave_the_disk(tmp_path: Path) -> None:
    rng = random.Random(ROUNDS)
    server = Server(tmp_path / "data", env={"BUCKETLOG_RELEASE_AFTER_S": "0"}).start()
    s3 = server.client()
    s3.create_bucket(Bucket="space")
    live: dict[str, int] = {}
    written = 0
    for _ in range(ROUNDS):
        for number in range(KEYS):
            size = rng.choice(SIZES)
            s3.put_object(Bucket="space", Key=f"k{number}", Body=os.urandom(size))
            live[f"k{number}"] = size
            written += size
    for number in range(0, KEYS, 3):
        s3.delete_object(Bucket="space", Key=f"k{number}")
        del live[f"k{number}"]
    deadline = time.monotonic() + WITHIN_S
    while taken_bytes(server.data) > OF_LIVE * sum(live.values()):
        assert time.monotonic() < deadline, (taken_bytes(server.data), sum(live.values()), written)
        time.sleep(0.5)
    assert written > 8 * sum(live.values())
    for key, size in live.items():
        assert len(s3.get_object(Bucket="space", Key=key)["Body"].read()) == size
    assert server.stop() == 0


def test_what_is_being_read_stays_and_goes_when_the_read_has_ended(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", env={"BUCKETLOG_RELEASE_AFTER_S": "0"}).start()
    s3 = server.client()
    s3.create_bucket(Bucket="space")
    survives_an_overwrite(s3, "space", lambda: taken_bytes(server.data) < BYTES, hold_s=5.0)
    deadline = time.monotonic() + WITHIN_S
    while taken_bytes(server.data) > BYTES / 10:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert server.stop() == 0


def test_a_read_that_takes_longer_than_it_may_is_ended(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", env={"BUCKETLOG_RELEASE_AFTER_S": "0", "BUCKETLOG_READ_MAX_S": "2"}).start()
    s3 = server.client()
    s3.create_bucket(Bucket="space")
    s3.put_object(Bucket="space", Key="slow", Body=os.urandom(BYTES))
    body = s3.get_object(Bucket="space", Key="slow")["Body"]
    body.read(1 << 20)
    s3.delete_object(Bucket="space", Key="slow")
    deadline = time.monotonic() + WITHIN_S
    while taken_bytes(server.data) > BYTES / 10:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    with pytest.raises((IncompleteReadError, ProtocolError, ResponseStreamingError)):
        body.read()
    assert server.stop() == 0
