"""Brokers that go away under a cluster: the only one, and any one of three."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cluster.outcome import FAILOVER_S
from tests.kafka.brokers import bootstrap, brokers, wait_until_in_sync, wait_until_led
from tests.kafka.cluster import Cluster
from tests.load.checks import check, check_stream
from tests.load.clients import start_clients, stop_clients, wait_for_answers

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
ROUNDS = int(os.environ.get("BUCKETLOG_TEST_ROUNDS", "1"))  # brokers killed; three go through all of them
LOAD_S = 2.0


def refused(s3: Any, key: str, body: bytes) -> None:
    with pytest.raises(ClientError) as failed:
        s3.put_object(Bucket="photos", Key=key, Body=body)
    assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_without_its_broker_nothing_is_acknowledged_and_all_goes_on_when_it_is_back(tmp_path: Path) -> None:
    with brokers(tmp_path, 1) as (broker,), Cluster(tmp_path, broker.bootstrap) as cluster:
        s3 = cluster.client(gateway=0, read_timeout=60)
        s3.create_bucket(Bucket="photos")
        s3.put_object(Bucket="photos", Key="before", Body=b"1")
        broker.kill()
        with ThreadPoolExecutor() as pool:  # each waits as long as the log does
            list(pool.map(partial(refused, s3), ["small", "large"], [b"2", b"3" * (1 << 20)]))
        assert all(role.is_running() for role in cluster.roles)
        broker.start().wait()
        deadline = time.monotonic() + 30
        while True:
            try:
                s3.put_object(Bucket="photos", Key="after", Body=b"4")
                break
            except ClientError:
                assert time.monotonic() < deadline
        assert s3.get_object(Bucket="photos", Key="before")["Body"].read() == b"1"
        keys = {row["Key"] for row in s3.list_objects_v2(Bucket="photos")["Contents"]}
        assert {"before", "after"} <= keys
        for role in cluster.roles:
            role.wait()


@pytest.mark.timed
def test_any_one_of_three_brokers_may_be_killed(tmp_path: Path) -> None:
    with brokers(tmp_path, 3) as made, Cluster(tmp_path, bootstrap(made), replication=3) as cluster:
        clients = start_clients(cluster)
        longest = []
        for broker in islice(cycle(made), ROUNDS):
            time.sleep(LOAD_S)
            broker.kill()
            others = [each for each in made if each is not broker]
            wait_until_led(others, FAILOVER_S)
            wait_for_answers(clients, FAILOVER_S)
            time.sleep(LOAD_S)
            broker.start().wait()
            wait_until_in_sync(made)
            time.sleep(LOAD_S)
            longest.append(max(client.longest_outage_s for client in clients))
        stop_clients(clients)
        check(cluster, clients)
        check_stream(cluster)
        print(f"longest outage after each kill: {longest}")
        print(*(f"client {each.number}: {each.longest_outage_s:.1f} s, {each.errors[:3]}" for each in clients), sep="\n")
        assert max(client.longest_outage_s for client in clients) <= FAILOVER_S
