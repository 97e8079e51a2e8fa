"""Whether a store still has what its clients were told, and whether its stream has each once."""

import json
import shutil
import subprocess
from collections import Counter
from typing import Any

from botocore.exceptions import ClientError

from tests.load.clients import BUCKET, Client, Store
from tests.server import ACCESS_KEY, BUCKETLOG, SECRET_KEY, Server


def check(server: Store, clients: list[Client]) -> None:
    s3, bucket = server.client(), clients[0].bucket
    listed = _listed(server, bucket)
    for client in clients:
        assert client.wrong == []
        for key in client.known:
            client.read(s3, key)
            assert client.wrong == []
            try:
                head = s3.head_object(Bucket=bucket, Key=key)
            except ClientError:
                head = None
            assert listed.get(key) == (head and (head["ETag"], head["ContentLength"]))


def _listed(server: Store, bucket: str) -> dict[str, tuple[str, int]]:
    """ETag and size of each key."""
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {row["Key"]: (row["ETag"], row["Size"]) for page in pages for row in page.get("Contents", [])}


def stream(server: Store, bucket: str = BUCKET) -> list[dict[str, Any]]:
    """All events so far, as `bucketlog events tail` prints them."""
    env = {"BUCKETLOG_ACCESS_KEY_ID": ACCESS_KEY, "BUCKETLOG_SECRET_ACCESS_KEY": SECRET_KEY}
    arguments = [BUCKETLOG, "events", "tail", "--bucket", bucket, "--endpoint", server.endpoint]
    tail = subprocess.Popen(arguments, env=env, stdout=subprocess.PIPE, text=True)
    assert tail.stdout is not None
    server.client().put_object(Bucket=bucket, Key="the-last", Body=b"")
    events = []
    for line in tail.stdout:
        events.append(json.loads(line))
        if events[-1]["event"].get("key") == "the-last":
            break
    tail.kill()
    tail.wait()
    tail.stdout.close()
    return events


def check_stream(server: Store, bucket: str = BUCKET) -> None:
    events = stream(server, bucket)
    requests = Counter(each["requestId"] for each in events)
    assert [request for request, times in requests.items() if request and times > 1] == []
    positions = [int(each["position"].split(":")[1]) for each in events]
    assert positions == sorted(set(positions))
    state: dict[str, tuple[str, int]] = {}
    for each in (event["event"] for event in events):
        if each["eventName"].startswith("ObjectCreated"):
            state[each["key"]] = (f'"{each["eTag"]}"', each["size"])
        elif each["eventName"].startswith("ObjectRemoved"):
            state.pop(each["key"], None)
    assert state == _listed(server, bucket)


def check_twice(server: Server, clients: list[Client]) -> None:
    """As it is, and when what is derived was removed; then the server is stopped for good."""
    check(server, clients)
    check_stream(server)
    assert server.stop() == 0
    for derived in ("view", "index"):
        shutil.rmtree(server.data / derived)
    server.start()
    check(server, clients)
    check_stream(server)
    assert server.stop() == 0
