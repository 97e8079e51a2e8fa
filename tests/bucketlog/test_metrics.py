"""What a scrape finds, and who may have it."""

import asyncio
import os
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.types import Message, Scope

from bucketlog.metrics import ends
from bucketlog.metrics.collectors import ClusterMetrics
from bucketlog.metrics.endpoint import metrics_route
from bucketlog.metrics.ends import Ends
from bucketlog.settings import Settings
from tests.bucketlog.http import get
from tests.bucketlog.scrape import Scrape
from tests.bucketlog.shell import wait_until_whole
from tests.server import Server
from topics import spec
from topics.log import Entry, LogError
from topics.memory import MemoryLog
from topics.spec import GROUPS, TopicPartition

AT = TopicPartition("commands", 3)


def scrape(server: Server) -> Scrape:
    status, text = get(f"{server.endpoint}/-/metrics")
    assert status == 200
    return Scrape(text)


@pytest.fixture
def disks(tmp_path: Path) -> Server:
    return Server(tmp_path / "b", flags=["--data", str(tmp_path / "a")])


def test_a_store_tells_of_all_its_parts(disks: Server) -> None:
    s3, body = disks.start().client(), os.urandom(300_000)
    s3.create_bucket(Bucket="counted")
    for number in range(5):
        s3.put_object(Bucket="counted", Key=f"k{number}", Body=body)
    s3.get_object(Bucket="counted", Key="k0")["Body"].read()
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket="counted", Key="none")
    wait_until_whole(disks)
    found = scrape(disks)
    assert found.sum("bucketlog_requests_total", operation="PutObject", status="200") == 5
    assert found.sum("bucketlog_requests_total", operation="GetObject", status="404") == 1
    assert found.sum("bucketlog_request_seconds_count", operation="GetObject") == 2
    assert found.sum("bucketlog_request_seconds_bucket", operation="GetObject", le="+Inf") == 2
    assert found.sum("bucketlog_received_bytes_total") >= 5 * len(body)
    assert found.sum("bucketlog_sent_bytes_total") >= len(body)
    assert found.sum("bucketlog_commands_waiting") == 0
    assert found.sum("bucketlog_partition_held") == spec.EVENTS.partitions
    assert found.sum("bucketlog_partition_claims_total") == spec.EVENTS.partitions
    assert found.sum("bucketlog_decided_events_total") >= 6
    assert found.sum("bucketlog_decided_commands_total") >= found.sum("bucketlog_decided_batches_total") > 0
    assert found.sum("bucketlog_partition_lag_records") == found.sum("bucketlog_view_lag_records") == 0
    assert (found.sum("bucketlog_data_nodes", state="up"), found.sum("bucketlog_groups", condition="whole")) == (2, GROUPS)
    assert found.sum("bucketlog_blobs_under_replicated") == 0
    assert found.sum("bucketlog_volume_live_bytes") >= 2 * 5 * len(body)
    assert found.sum("bucketlog_group_lag_records") == found.sum("bucketlog_read_only") == 0
    assert found.sum("bucketlog_log_reachable") == 1
    assert found.has("process_cpu_seconds_total")
    assert disks.stop() == 0


def test_with_a_token_only_who_sends_it_is_answered(tmp_path: Path) -> None:
    server = Server(tmp_path, env={"BUCKETLOG_METRICS_TOKEN": "a secret token"}).start()
    url = f"{server.endpoint}/-/metrics"
    answers = [get(url, {"authorization": each})[0] for each in ("", "Bearer another", "Basic a secret token")]
    assert answers == [401, 401, 401]
    assert get(url, {"authorization": "Bearer a secret token"})[0] == 200
    assert server.stop() == 0


def status_for(client: tuple[str, int] | None, *headers: tuple[bytes, bytes]) -> int:
    """What somebody is answered where no token is set."""
    told: list[int] = []

    async def ask() -> None:
        async def receive() -> Message:
            return {"type": "http.request"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                told.append(message["status"])

        log = MemoryLog("the log", lambda: 1)
        await log.create_topics(spec.ALL)
        app = Starlette(routes=[metrics_route(Settings(), Ends(log, lambda: [AT]), [])])
        scope: Scope = {"type": "http", "method": "GET", "path": "/-/metrics", "query_string": b"", "client": client}
        scope["headers"] = list(headers)
        await app(scope, receive, send)

    asyncio.run(ask())
    return told[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_without_a_token_this_machine_is_answered(host: str) -> None:
    assert status_for((host, 1)) == 200


@pytest.mark.parametrize("client", [("10.0.0.1", 1), ("::ffff:10.0.0.1", 1), ("2001:db8::1", 1), ("name", 1), None])
def test_without_a_token_nobody_else_is_answered(client: tuple[str, int] | None) -> None:
    assert status_for(client) == 403


@pytest.mark.parametrize("header", [b"x-forwarded-for", b"forwarded", b"x-real-ip", b"via"])
def test_what_a_proxy_on_this_machine_passes_on_comes_from_elsewhere(header: bytes) -> None:
    assert status_for(("127.0.0.1", 1), (header, b"10.0.0.1")) == 403


class Gone(MemoryLog):
    """Its broker answers `answers` times, then never or by a refusal."""

    answers, is_silent = 0, False

    async def latest(self, at: TopicPartition) -> int:
        self.answers -= 1
        if self.answers >= 0:
            return await super().latest(at)
        if self.is_silent:
            await asyncio.Event().wait()
        raise LogError("the broker is gone")


@pytest.mark.parametrize("is_silent", [True, False])
def test_a_lag_is_told_as_long_as_the_log_can_be_asked(monkeypatch: pytest.MonkeyPatch, is_silent: bool) -> None:
    monkeypatch.setattr(ends, "LOOK_S", 0.01)

    async def case() -> None:
        log = Gone("the log", lambda: 1)
        log.answers, log.is_silent = 1, is_silent
        await log.create_topics(spec.ALL)
        await log.append(AT, [Entry(b"", b"x")] * 5, durable=True)
        found = Ends(log, lambda: [AT])
        await found.look()
        assert (found.lag(AT, 2), found.lag(AT, 9), found.lag(TopicPartition("commands", 4), 0)) == (3, 0, None)
        await found.look()
        assert found.lag(AT, 2) is None
        assert [sample.value for metric in found.collect() for sample in metric.samples] == [0]

    asyncio.run(case())


def test_who_does_not_judge_data_nodes_tells_nothing_of_the_cluster() -> None:
    assert list(ClusterMetrics(lambda: None, dict).collect()) == []
