"""The subscriber of docs/ on raw Kafka sees what `bucketlog events tail` tells, over an owner's death and its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kafka.cluster import Cluster
from tests.load.checks import stream
from tests.load.clients import BUCKET
from topics.spec import bucket_partition

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
SUBSCRIBER = Path(__file__).parents[2] / "docs" / "subscribe.py"


@contextmanager
def subscriber(cluster: Cluster, state: Path) -> Iterator[Iterator[dict[str, Any]]]:
    arguments = [cluster.bootstrap, f"{cluster.prefix}events", str(bucket_partition(BUCKET)), str(state)]
    running = subprocess.Popen([sys.executable, str(SUBSCRIBER), *arguments], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        yield map(json.loads, running.stdout)
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


def until(key: str, lines: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for line in lines:
        found.append(line)
        if line["event"].get("key") == key:
            break
    return found


def test_a_subscriber_sees_each_event_once(tmp_path: Path, kafka: str) -> None:
    with Cluster(tmp_path, kafka, gateways=1) as cluster:
        s3, state = cluster.client(read_timeout=30), tmp_path / "position"
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="before", Body=b"1")
        with subscriber(cluster, state) as lines:
            seen = until("before", lines)
        cluster.owner(BUCKET).kill()
        s3.put_object(Bucket=BUCKET, Key="after", Body=b"2")
        told = [each for each in stream(cluster) if each["event"].get("bucket") == BUCKET]
        with subscriber(cluster, state) as lines:
            seen += until(told[-1]["event"]["key"], lines)
        claims = [each["epoch"] for each in seen if each["event"]["eventName"] == "Claimed"]
        assert claims == sorted(set(claims))
        assert len(claims) >= 2
        # one that was killed between printing and remembering prints that one again
        once = list({each["position"]: each for each in seen}.values())
        assert [each for each in once if each["event"].get("bucket") == BUCKET] == told
        for role in cluster.processors:
            if not role.is_running():
                role.start().wait()
