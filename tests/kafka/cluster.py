"""A cluster of processes on a real broker: gateways, processors, data nodes."""

import asyncio
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from confluent_kafka.admin import AdminClient

from processors.leases import AT, OwnerMap, leases
from tests.kafka.broker import remove_topics
from tests.server import ACCESS_KEY, BUCKETLOG, SECRET_KEY, client_of, free_port
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import KafkaConfig
from topics.kafka.group import GROUP
from topics.spec import bucket_partition

START_S = 60


class Role:
    """One process of the cluster; it may be killed, paused and started again."""

    def __init__(self, name: str, data: Path, env: Mapping[str, str], host: str = "127.0.0.1") -> None:
        self.name = name
        self.data = data
        self.host = host
        self.port = free_port()
        self.endpoint = f"http://{host}:{self.port}"
        self.env = {**os.environ, **env}
        self.command = [BUCKETLOG]  # another build of it may take its place
        self.told: Path | None = None  # a file for what it tells of failures
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Role":
        arguments = [*self.command, self.name, "--host", self.host, "--port", str(self.port)]
        if self.name != "gateway":
            arguments += ["--data", str(self.data)]
        with self.told.open("ab") if self.told else nullcontext() as told:
            self.process = subprocess.Popen(
                arguments, env=self.env, stdout=subprocess.DEVNULL, stderr=told, process_group=0
            )
        return self

    def tells(self, what: str) -> str:
        """The line with `what`, once there is one; `told` must be set."""
        assert self.told is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            for line in self.told.read_text().splitlines() if self.told.exists() else ():
                if what in line:
                    return line
            time.sleep(0.05)
        raise RuntimeError(f"the {self.name} does not tell of {what!r}; it told: {self.told.read_text()}")

    def wait(self) -> "Role":
        """Until it is ready."""
        deadline = time.monotonic() + START_S
        while not self.is_ready():
            if self._running().poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the {self.name} did not start; exit code {self._running().poll()}")
            time.sleep(0.05)
        return self

    def is_running(self) -> bool:
        return self._running().poll() is None

    def is_ready(self) -> bool:
        return self.answers("/readyz")

    def answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"{self.endpoint}{path}", timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def send(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self._running().wait(15)

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self._running().wait(15)

    def _running(self) -> "subprocess.Popen[bytes]":
        assert self.process is not None
        return self.process


class Cluster:
    def __init__(
        self,
        folder: Path,
        bootstrap: str,
        *,
        gateways: int = 2,
        processors: int = 2,
        datanodes: int = 1,
        replication: int = 1,
        env: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._turn = 0
        self._host = host
        self.bootstrap = bootstrap
        self.prefix = f"c{uuid.uuid4().hex[:8]}-"
        self.env = {
            "BUCKETLOG_KAFKA": bootstrap,
            "BUCKETLOG_KAFKA_PREFIX": self.prefix,
            "BUCKETLOG_KAFKA_REPLICATION": str(replication),
            "BUCKETLOG_KAFKA_MIN_IN_SYNC": str(max(1, replication - 1)),
            "BUCKETLOG_CLUSTER_SECRET": uuid.uuid4().hex,
            "BUCKETLOG_COPIES": str(min(3, datanodes)),
            "BUCKETLOG_ACCESS_KEY_ID": ACCESS_KEY,
            "BUCKETLOG_SECRET_ACCESS_KEY": SECRET_KEY,
            **(env or {}),
        }
        self._folder = folder
        self.datanodes = [self.new_datanode(f"node{number}") for number in range(datanodes)]
        self.processors = [Role("processor", folder / f"processor{number}", self.env, host) for number in range(processors)]
        self.gateways = [Role("gateway", folder, self.env, host) for _ in range(gateways)]

    def __enter__(self) -> "Cluster":
        return self.start()

    def __exit__(self, failed: object, *_: object) -> None:
        if failed is None:
            assert self.stop() == [0] * len(self.roles)
        for role in self.roles:
            if role.is_running():
                role.kill()
        remove_topics(self.bootstrap, self.prefix)

    def start(self) -> "Cluster":
        for role in self.roles:
            role.start()
        for role in self.roles:
            role.wait()
        return self

    def new_datanode(self, name: str, domain: str = "", host: str = "") -> Role:
        """Not started."""
        env = {**self.env, "BUCKETLOG_NODE": name, "BUCKETLOG_FAILURE_DOMAIN": domain}
        return Role("datanode", self._folder / name, env, host or self._host)

    @property
    def datanode(self) -> Role:
        return self.datanodes[0]

    @property
    def roles(self) -> list[Role]:
        return [*self.datanodes, *self.processors, *self.gateways]

    def stop(self) -> list[int]:
        """Exit codes, gateways first."""
        return [role.stop() for role in reversed(self.roles)]

    @property
    def endpoint(self) -> str:
        return self.gateways[0].endpoint

    @property
    def port(self) -> int:
        return self.gateways[0].port

    @property
    def data(self) -> Path:
        """Where the payloads are."""
        return self.datanode.data

    def owner(self, bucket: str) -> Role:
        """The processor that a bucket's partition is assigned to, when it has also claimed it."""
        group, partition = f"{self.prefix}{GROUP}", bucket_partition(bucket)
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            for member in admin.describe_consumer_groups([group])[group].result().members:
                is_assigned = partition in [each.partition for each in member.assignment.topic_partitions]
                if is_assigned and asyncio.run(self._latest_owner(partition)) == member.client_id:
                    return next(role for role in self.processors if role.endpoint == member.client_id)
            time.sleep(0.1)
        raise RuntimeError(f"nobody owns partition {partition}")

    async def _latest_owner(self, partition: int) -> str | None:
        log, owners = await KafkaLog.open(KafkaConfig(self.bootstrap, self.prefix)), OwnerMap()
        end = await log.latest(AT)
        async for offset, lease in leases(log, await log.earliest(AT)):
            if lease is not None:
                owners.fold(lease)
            if offset + 1 >= end:
                break
        await log.close()
        return owners.endpoint(partition)

    def client(self, *, gateway: int | None = None, **options: Any) -> Any:
        """Of a gateway, by turns where none is named."""
        if gateway is None:
            gateway = self._turn = (self._turn + 1) % len(self.gateways)
        return client_of(self.gateways[gateway].endpoint, **options)
