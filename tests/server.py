"""A real `bucketlog serve` in a process of its own, on a free port, for tests that kill it or talk to it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

BUCKETLOG = str(Path(sys.executable).with_name("bucketlog"))  # the installed command
ACCESS_KEY, SECRET_KEY, REGION = "tester", "tester-secret", "us-east-1"
START_S = 30


class Server:
    """By default the installed `bucketlog serve`, or that of another tree (`command`).

    `module` runs another build of it, with `flags` of its own.
    """

    def __init__(
        self,
        data: Path,
        *,
        module: str = "",
        command: str = BUCKETLOG,
        flags: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stderr: Path | None = None,
    ) -> None:
        self.data = data
        self._command = [sys.executable, "-m", module] if module else [command, "serve"]
        self.flags = flags
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._env = {
            **os.environ,
            "BUCKETLOG_ACCESS_KEY_ID": ACCESS_KEY,
            "BUCKETLOG_SECRET_ACCESS_KEY": SECRET_KEY,
            **(env or {}),
        }
        self._stderr = stderr
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Server":
        arguments = [*self._command, *self.flags, "--data", str(self.data), "--port", str(self.port)]
        with ExitStack() as opened:
            stderr = opened.enter_context(self._stderr.open("ab")) if self._stderr else None
            self.process = subprocess.Popen(arguments, env=self._env, stdout=subprocess.DEVNULL, stderr=stderr)
        deadline = time.monotonic() + START_S
        while not self._is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start; exit code {self.process.poll()}")
            time.sleep(0.05)
        return self

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def client(self, **options: Any) -> Any:
        return client_of(self.endpoint, **options)

    def _end(self, signal_number: int) -> int:
        assert self.process is not None
        self.process.send_signal(signal_number)
        return self.process.wait(timeout=15)

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}/readyz", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def client_of(endpoint: str, **options: Any) -> Any:
    """A boto3 client that never tries again by itself."""
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **options)
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
        config=config,
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
