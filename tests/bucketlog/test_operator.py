"""What an operator sees of a running store, and does with its disks: by the commands, as a shell uses them."""

import asyncio
import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bucketlog.admin import create_admin_app
from bucketlog.admin_client import AdminClient, Refused
from bucketlog.credentials import RootCredentials
from tests.bucketlog.http import get
from tests.bucketlog.shell import KEYS, bucketlog, status, wait_until_whole
from tests.server import ACCESS_KEY, BUCKETLOG, REGION, SECRET_KEY, Server
from topics.spec import GROUPS

DISKS = ("a", "b", "c", "d")
OBJECTS = 60


def with_disks(folder: Path, names: tuple[str, ...]) -> Server:
    flags = [flag for name in names[:-1] for flag in ("--data", str(folder / name))]
    return Server(folder / names[-1], flags=flags)


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[Server]:
    """A store over four disks, the last of them empty of any duty but its own."""
    server = with_disks(tmp_path, DISKS).start()
    yield server
    assert server.stop() == 0


def name_of(folder: Path) -> str:
    return str(json.loads((folder / "node.json").read_text())["name"])


def test_status_shows_a_store_that_is_whole(disks: Server) -> None:
    found = wait_until_whole(disks)
    assert [each["state"] for each in found["nodes"]] == ["up"] * len(DISKS)
    assert {each["endpoint"] for each in found["nodes"]} == {str(disks.data.parent / name) for name in DISKS}
    assert [each["lag"] for each in found["partitions"]] == [0] * 17
    shown = bucketlog(disks, "status", COLUMNS="100").stdout
    assert all(each["name"] in shown for each in found["nodes"])


def test_a_disk_is_drained_emptied_and_forgotten(disks: Server, tmp_path: Path) -> None:
    s3, name = disks.client(), name_of(tmp_path / "d")
    bodies = {f"k{number}": os.urandom(3_000 if number % 10 else 500_000) for number in range(OBJECTS)}
    s3.create_bucket(Bucket="drained")
    for key, body in bodies.items():
        s3.put_object(Bucket="drained", Key=key, Body=body)
    done = bucketlog(disks, "node", "drain", name, "--wait")
    assert (done.returncode, done.stderr) == (0, "")
    (node,) = [each for each in status(disks)["nodes"] if each["name"] == name]
    assert (node["is_draining"], node["groups_wanted"], node["groups_leaving"]) == (True, 0, 0)
    assert len(status(disks)["groups"]["whole"]) == GROUPS
    refused = bucketlog(disks, "node", "remove", name)
    assert refused.returncode == 1
    assert "NodeHoldsData" in refused.stderr
    assert disks.stop() == 0
    fewer = with_disks(tmp_path, DISKS[:-1]).start()
    assert bucketlog(fewer, "node", "remove", name).returncode == 0
    assert name not in {each["name"] for each in status(fewer)["nodes"]}
    for key, body in bodies.items():
        assert fewer.client().get_object(Bucket="drained", Key=key)["Body"].read() == body
    assert fewer.stop() == 0
    disks.start()  # the disk comes back as one that has nothing


def test_a_cluster_is_paused_and_resumed_and_says_so(disks: Server) -> None:
    for action, is_paused in (("pause", True), ("pause", True), ("resume", False)):
        done = bucketlog(disks, "cluster", action)
        assert (done.returncode, done.stderr) == (0, "")
        assert status(disks)["is_paused"] is is_paused
        shown = bucketlog(disks, "status", COLUMNS="100").stdout
        assert ("no data node goes out by itself" in shown) is is_paused
    client = AdminClient(disks.endpoint, REGION, RootCredentials(ACCESS_KEY, SECRET_KEY))
    client.ask("POST", "/-/cluster/pause")
    assert disks.stop() == 0
    disks.start()
    assert status(disks)["is_paused"] is True  # it is in the log
    with pytest.raises(Refused, match="InvalidArgument"):
        client.ask("POST", "/-/cluster/stop")
    with pytest.raises(Refused, match="InvalidAccessKeyId"):
        AdminClient(disks.endpoint, REGION, RootCredentials("nobody", SECRET_KEY)).ask("POST", "/-/cluster/resume")
    assert status(disks)["is_paused"] is True


def test_an_audit_of_all_is_shown_when_it_has_ended(tmp_path: Path) -> None:
    server = Server(tmp_path, env={"BUCKETLOG_AUDIT_PACE_S": "0.01"}).start()
    try:
        s3 = server.client()
        s3.create_bucket(Bucket="audited")
        for number in range(5):
            s3.put_object(Bucket="audited", Key=f"k{number}", Body=b"x")
        deadline = time.monotonic() + 30
        while not (found := status(server)["audit"])["ended_ms"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert (found["missing"], found["lost"], found["blobs"] <= 5) == (0, 0, True)
        assert "Audit: last ended" in bucketlog(server, "status", COLUMNS="100").stdout
    finally:
        assert server.stop() == 0


def test_a_drain_is_taken_back(disks: Server, tmp_path: Path) -> None:
    name = name_of(tmp_path / "d")
    assert bucketlog(disks, "node", "drain", name).returncode == 0
    assert bucketlog(disks, "node", "stay", name).returncode == 0
    (node,) = [each for each in status(disks)["nodes"] if each["name"] == name]
    assert not node["is_draining"]
    assert node["groups_wanted"] > 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("drain", "nobody"), "NoSuchNode"),
        (("stay", "nobody"), "NoSuchNode"),
        (("remove", "nobody"), "NoSuchNode"),
    ],
)
def test_what_is_refused_is_told_in_a_line(server: Server, arguments: tuple[str, ...], why: str) -> None:
    done = bucketlog(server, "node", *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("bucketlog: ")
    assert why in line


def test_a_drain_that_leaves_too_few_disks_is_warned_of(server: Server) -> None:
    (node,) = status(server)["nodes"]
    done = bucketlog(server, "node", "drain", node["name"])
    assert (done.returncode, "0 data nodes are left for 1 copies" in done.stderr) == (0, True)
    assert bucketlog(server, "node", "stay", node["name"]).returncode == 0


def test_only_who_has_the_root_key_is_answered(server: Server) -> None:
    assert get(f"{server.endpoint}/-/status")[0] == 403
    stranger = AdminClient(server.endpoint, REGION, RootCredentials(ACCESS_KEY, "another secret"))
    for method, path in (("GET", "/-/status"), ("POST", "/-/nodes/any/drain"), ("GET", "/-/events")):
        with pytest.raises(Refused, match="SignatureDoesNotMatch"):
            stranger.ask(method, path)


def test_a_url_that_was_passed_on_changes_nothing(server: Server) -> None:
    for method, path, expected in (("GET", "/-/status", 200), ("POST", "/-/nodes/any/drain", 403)):
        aws = AWSRequest(method, server.endpoint + path, {})
        S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION, expires=60).add_auth(aws)
        asked = urllib.request.Request(str(aws.url), method=method)
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert answer.status == expected
        except urllib.error.HTTPError as error:
            assert (error.code, b"in the header Authorization" in error.read()) == (expected, True)


def test_no_keys_and_no_store_are_told_in_a_line(server: Server, tmp_path: Path) -> None:
    bare = [BUCKETLOG, "status", "--data", str(tmp_path), "--endpoint", "http://127.0.0.1:9"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("BUCKETLOG_")}
    for more, why in (({}, "there are no keys"), (KEYS, "cannot be reached")):
        done = subprocess.run(bare, check=False, env=env | more, capture_output=True, text=True, timeout=60)
        assert (done.returncode, why in done.stderr, len(done.stderr.strip().splitlines())) == (1, True, 1)


def test_a_key_may_begin_as_these_paths_do_where_the_host_names_the_bucket() -> None:
    reached = []

    async def inner(*_: object) -> None:
        reached.append("inner")

    app = create_admin_app(inner, [], "S3.example")
    for host, is_inner in ((b"photos.s3.example", True), (b"photos.S3.example:9000", True), (b"s3.example", False)):
        reached.clear()
        assert get_status(app, host) == (None if is_inner else 404)
        assert bool(reached) is is_inner


def get_status(app: Any, host: bytes) -> int | None:
    """The status of GET /-/status there, if the application itself answers."""
    told: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    scope = {"type": "http", "method": "GET", "path": "/-/status", "query_string": b"", "headers": [(b"host", host)]}
    asyncio.run(app(scope, receive, send))
    return told[0]["status"] if told else None
