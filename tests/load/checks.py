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
    s3 = server.client()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    listed = {row["Key"]: row["Size"] for page in pages for row in page.get("Contents", [])}
    for client in clients:
        assert client.wrong == []
        for key in client.known:
            client.read(s3, key)
            assert client.wrong == []
            try:
                size = s3.head_object(Bucket=BUCKET, Key=key)["ContentLength"]
            except ClientError:
                size = None
            assert listed.get(key) == size


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


def check_stream(server: Store) -> None:
    events = stream(server)
    requests = Counter(each["requestId"] for each in events)
    assert [request for request, times in requests.items() if request and times > 1] == []
    positions = [int(each["position"].split(":")[1]) for each in events]
    assert positions == sorted(set(positions))
    state: dict[str, int] = {}
    for each in (event["event"] for event in events):
        if each["eventName"].startswith("ObjectCreated"):
            state[each["key"]] = each["size"]
        elif each["eventName"].startswith("ObjectRemoved"):
            state.pop(each["key"], None)
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    assert state == {row["Key"]: row["Size"] for page in pages for row in page.get("Contents", [])}


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
