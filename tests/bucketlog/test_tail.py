"""`bucketlog events tail` as a shell uses it."""

import json
import os
import subprocess
import uuid
from typing import Any

import pytest

from tests.server import ACCESS_KEY, BUCKETLOG, SECRET_KEY, Server


def first_events(server: Server, bucket: str, count: int, *arguments: str) -> list[dict[str, Any]]:
    """What a reader gets that then has enough; the command ends quietly when it next has something to say."""
    env = {**os.environ, "BUCKETLOG_ACCESS_KEY_ID": ACCESS_KEY, "BUCKETLOG_SECRET_ACCESS_KEY": SECRET_KEY}
    command = [BUCKETLOG, "events", "tail", "--endpoint", server.endpoint, "--bucket", bucket, *arguments]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        found = [json.loads(running.stdout.readline()) for _ in range(count)]
        running.stdout.close()
        for _ in range(2):  # the first line behind the closed pipe may still fit into a buffer
            server.client().put_object(Bucket=bucket, Key="more", Body=b"")
        assert (running.wait(20), running.stderr.read()) == (0, "")
    return found


def test_events_come_in_order_without_their_private_part(server: Server) -> None:
    bucket, s3 = f"t-{uuid.uuid4().hex[:8]}", server.client()
    s3.create_bucket(Bucket=bucket)
    for number in range(3):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"")
    found = first_events(server, bucket, 3)
    assert [each["event"].get("key", "") for each in found] == ["", "k0", "k1"]
    assert "private" not in found[1]["event"]


def test_from_a_position_on(server: Server) -> None:
    bucket, s3 = f"t-{uuid.uuid4().hex[:8]}", server.client()
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    position = first_events(server, bucket, 1)[0]["position"]
    partition, offset, _, _ = position.split(":")
    for start in (position, f"{partition}:{int(offset) + 1}"):
        (second,) = first_events(server, bucket, 1, "--from", start)
        assert second["event"]["key"] == "k"


@pytest.mark.parametrize(
    ("start", "endpoint", "why"),
    [
        ("yesterday", "", "InvalidArgument"),
        ("0:1:99:1", "", "no event of 0 has that position"),
        ("now", "http://127.0.0.1:9", "cannot be reached"),
    ],
)
def test_what_is_refused(server: Server, start: str, endpoint: str, why: str) -> None:
    env = {**os.environ, "BUCKETLOG_ACCESS_KEY_ID": ACCESS_KEY, "BUCKETLOG_SECRET_ACCESS_KEY": SECRET_KEY}
    command = [BUCKETLOG, "events", "tail", "--endpoint", endpoint or server.endpoint, "--from", start]
    done = subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert why in done.stdout + done.stderr
