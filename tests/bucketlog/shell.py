"""The commands of an operator, as a shell runs them."""

import json
import os
import subprocess
import time
from typing import Any

from bucketlog.admin_client import AdminClient
from bucketlog.credentials import RootCredentials
from bucketlog.status import PATH
from tests.server import ACCESS_KEY, BUCKETLOG, REGION, SECRET_KEY, Server
from topics.spec import GROUPS

KEYS = {"BUCKETLOG_ACCESS_KEY_ID": ACCESS_KEY, "BUCKETLOG_SECRET_ACCESS_KEY": SECRET_KEY}
WHOLE_S = 120.0


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`bucketlog` with nothing but this in its environment."""
    command = [BUCKETLOG, *arguments]
    return subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=60)


def bucketlog(server: Server, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Against a store."""
    return run(*arguments, "--endpoint", server.endpoint, **os.environ | KEYS | env)


def status(server: Server) -> Any:
    return json.loads(bucketlog(server, "status", "--json").stdout)


def wait_until_whole(server: Server) -> Any:
    """The status in which every group has all its copies: each disk that a start finds takes over its part."""
    asked = AdminClient(server.endpoint, REGION, RootCredentials(ACCESS_KEY, SECRET_KEY))
    deadline = time.monotonic() + WHOLE_S
    while len((found := asked.ask("GET", PATH))["groups"]["whole"]) < GROUPS:
        assert time.monotonic() < deadline, {name: len(groups) for name, groups in found["groups"].items()}
        time.sleep(0.1)
    return found
