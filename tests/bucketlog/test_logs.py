"""Log lines: their form, the request that they are about, and what must never be in them."""

import asyncio
import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bucketlog import logs
from bucketlog.settings import Settings
from datanode.api import create_node_app
from datanode.node import QUORUM_S, BlobRef, BlobUnavailable
from datanode.remote import RemoteNode
from gateway.app import S3App
from gateway.context import Gateway
from tests.bucketlog.http import served
from tests.gateway.requests import Keys, receive_from
from tests.server import SECRET_KEY, Server
from topics import request_id
from topics.secret import ClusterSecret

CLUSTER = ClusterSecret(b"a secret of a test cluster")
BLOB = BlobRef(3, bytes(16), 0)
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What is logged, as JSON."""
    stream, root = io.StringIO(), logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure(Settings(log_format="json", access_log=True), stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], level = before
    root.setLevel(level)


class Node:
    """A data node that has nothing, on a disk that takes nothing."""

    async def create(self, ref: BlobRef, length: int, *, leads: bool, quorum_s: float = QUORUM_S) -> Any:
        raise OSError(28, "No space left on device")

    async def read(self, ref: BlobRef, start: int, size: int, position: int) -> bytes:
        raise BlobUnavailable(f"blob {ref.blob.hex()} is not on this node")

    async def pieces(self, group: int, wanted: Any, position: int) -> list[Any]:
        raise OSError("not a holder")

    async def blobs(self, group: int, after: bytes, position: int) -> list[Any]:
        raise OSError("not a holder")


def test_a_line_is_json_with_its_request(lines: Lines) -> None:
    def work() -> None:
        request_id.adopt("0123456789ABCDEF")
        logging.getLogger("some.part").warning("blob %s is gone", "x")

    copy_context().run(work)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "message": "blob x is gone",
        "level": "warning",
        "logger": "some.part",
        "request": "0123456789ABCDEF",
    }


def test_the_request_goes_along_to_the_data_node_and_into_what_it_refuses(lines: Lines) -> None:
    async def case() -> None:
        async with served(create_node_app(Node(), CLUSTER)) as endpoint, RemoteNode(endpoint, CLUSTER) as node:
            request_id.current.set("THE-REQUEST")
            with pytest.raises(BlobUnavailable):
                await node.read(BLOB, 0, 10, -1)
            writer = await node.create(BLOB, 3, leads=False)
            with pytest.raises(OSError, match="No space left"):
                await writer.write(b"abc")
                await writer.commit()
            await writer.abort()

    asyncio.run(case())
    told = [(line["level"], line["request"], line["message"]) for line in lines() if line["logger"] == "datanode.api"]
    path = f"/groups/3/blobs/{'0' * 32}"
    assert told == [
        ("info", "THE-REQUEST", f"GET {path} is answered 404: blob {'0' * 32} is not on this node"),
        ("warning", "THE-REQUEST", f"PUT {path} is answered 507: No space left on device"),
    ]


def test_who_does_not_know_the_secret_sets_no_request(lines: Lines) -> None:
    async def case() -> None:
        async with served(create_node_app(Node(), CLUSTER)) as endpoint, ClientSession() as session:
            headers = {request_id.HEADER: "NOT-KNOWN", "authorization": "none"}
            async with session.get(f"{endpoint}/groups/3/blobs/{'0' * 32}", headers=headers) as answer:
                assert answer.status == 401

    asyncio.run(case())
    (line,) = [line for line in lines() if line["logger"] == "datanode.api"]
    assert (line["level"], line.get("request")) == ("warning", None)


@pytest.mark.parametrize("text", ["", "a b", "a\nb", "x" * 65, "ü"])
def test_what_is_no_id_is_passed_over(text: str) -> None:
    async def case() -> str:
        request_id.adopt(text)
        return request_id.current.get()

    assert asyncio.run(case()) == ""


def asked(reads: Any) -> tuple[int, str]:
    """The status and the request id of an answer of the gateway."""
    told: list[Any] = []

    async def send(message: Any) -> None:
        told.append(message)

    nothing: Any = None
    app = S3App(Gateway(reads, nothing, nothing, Keys(), "us-east-1", logs_access=True))
    query = b"X-Amz-Signature=a-signature"
    scope = {"type": "http", "method": "GET", "path": "/bucket/key", "query_string": query, "headers": []}
    asyncio.run(app(scope, receive_from([]), send))
    return told[0]["status"], dict(told[0]["headers"])[b"x-amz-request-id"].decode()


class Reads:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def bucket(self, name: str) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "status", "level", "has_traceback"),
    [
        (OSError("the disk is gone"), 503, "warning", False),
        (BlobUnavailable("blob x is damaged"), 500, "error", False),
        (KeyError("a bug"), 500, "error", True),
    ],
)
def test_a_failure_is_told_with_its_request(
    lines: Lines, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, level: str, has_traceback: bool
) -> None:
    monkeypatch.setattr("gateway.app.is_signed", lambda _: False)
    answered, request = asked(Reads(error))
    assert answered == status
    failure, access = lines()
    assert (failure["level"], failure["request"], "exception" in failure) == (level, request, has_traceback)
    assert (access["operation"], access["path"], access["status"]) == ("GetObject", "/bucket/key", status)
    assert (access["message"], access["request"], "a-signature" in str(access)) == ("request", request, False)


def test_a_traceback_shows_no_values(lines: Lines) -> None:
    secret = "".join(["do", "not", "tell"])
    for form in ("json", "text"):
        stream = io.StringIO()
        logs.configure(Settings(log_format=form), stream)
        try:
            len(secret) / 0
        except ZeroDivisionError:
            logging.getLogger("some.part").exception("failed")
        assert "ZeroDivisionError" in stream.getvalue()
        assert secret not in stream.getvalue()


def test_a_store_under_debug_tells_no_secret(tmp_path: Path) -> None:
    """Nor does it log requests unless it is asked to."""
    secrets = {"BUCKETLOG_METRICS_TOKEN": "the metrics token", "BUCKETLOG_CLUSTER_SECRET": "the cluster's secret"}
    server = Server(tmp_path / "data", env=secrets | {"BUCKETLOG_LOG_LEVEL": "DEBUG"}, stderr=tmp_path / "stderr")
    s3 = server.start().client()
    s3.create_bucket(Bucket="quiet")
    s3.put_object(Bucket="quiet", Key="k", Body=os.urandom(500_000))
    assert server.stop() == 0
    text = (tmp_path / "stderr").read_text()
    assert not any(secret in text for secret in (*secrets.values(), SECRET_KEY))
    assert all("request" not in json.loads(line) for line in text.splitlines())


def test_an_access_log_is_a_json_line_for_each_request(tmp_path: Path) -> None:
    env = {"BUCKETLOG_ACCESS_LOG": "1", "BUCKETLOG_LOG_LEVEL": "error"}
    server = Server(tmp_path / "data", env=env, stderr=tmp_path / "stderr")
    s3 = server.start().client()
    s3.create_bucket(Bucket="loud")
    answer = s3.put_object(Bucket="loud", Key="k", Body=b"abc")
    assert server.stop() == 0
    created, put = [json.loads(line) for line in (tmp_path / "stderr").read_text().splitlines()]
    assert created["operation"] == "CreateBucket"
    assert put["request"] == answer["ResponseMetadata"]["RequestId"]
    assert (put["method"], put["path"], put["status"], put["user"], put["peer"]) == (
        "PUT",
        "/loud/k",
        200,
        "root",
        "127.0.0.1",
    )
    assert put["received_bytes"] >= 3
