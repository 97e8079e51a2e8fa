"""A gateway that is told to stop first says that it is not ready, and answers meanwhile: its balancer loses no request."""

import signal
import time
from pathlib import Path

import pytest

from tests.kafka.cluster import Cluster

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
DRAIN_S = 3.0


def test_a_gateway_that_stops_answers_until_its_balancer_has_seen_it(tmp_path: Path, kafka: str) -> None:
    with Cluster(tmp_path, kafka, processors=1, env={"BUCKETLOG_DRAIN_S": str(DRAIN_S)}) as cluster:
        gateway, s3 = cluster.gateways[0], cluster.client(gateway=0)
        s3.create_bucket(Bucket="drained")
        gateway.send(signal.SIGTERM)
        started_s = time.monotonic()
        while gateway.is_ready():
            assert time.monotonic() - started_s < DRAIN_S
        cluster.client(gateway=0).put_object(Bucket="drained", Key="late", Body=b"1")  # by a connection of its own
        assert gateway.is_running()
        assert gateway.process is not None
        assert gateway.process.wait(15) == 0
        assert time.monotonic() - started_s >= DRAIN_S
        assert cluster.client(gateway=1).get_object(Bucket="drained", Key="late")["Body"].read() == b"1"
        gateway.start().wait()
