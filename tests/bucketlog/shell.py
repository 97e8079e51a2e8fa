"""The commands of an operator, as a shell runs them against a store."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.server import ACCESS_KEY, SECRET_KEY, Server
from topics.spec import GROUPS

BUCKETLOG = str(Path(sys.executable).with_name("bucketlog"))
KEYS = {"BUCKETLOG_ACCESS_KEY_ID": ACCESS_KEY, "BUCKETLOG_SECRET_ACCESS_KEY": SECRET_KEY}
WHOLE_S = 120.0


def bucketlog(server: Server, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [BUCKETLOG, *arguments, "--endpoint", server.endpoint]
    return subprocess.run(command, check=False, env=os.environ | KEYS | env, capture_output=True, text=True, timeout=60)


def status(server: Server) -> Any:
    return json.loads(bucketlog(server, "status", "--json").stdout)


def wait_until_whole(server: Server) -> Any:
    """The status in which every group has all its copies: each disk that a start finds takes over its part."""
    deadline = time.monotonic() + WHOLE_S
    while len((found := status(server))["groups"]["whole"]) < GROUPS:
        assert time.monotonic() < deadline, {name: len(groups) for name, groups in found["groups"].items()}
        time.sleep(0.5)
    return found
