"""A Kafka broker for tests: one that is named, one in a container, or one from Maven's jars, in this order.

BUCKETLOG_TEST_KAFKA names bootstrap servers; else Docker by testcontainers; else Java 17 and Maven fetch the jars once into
a cache and start a KRaft broker on loopback.

`python -m tests.kafka.broker COMMAND…` runs a command beside a broker that all tests in it use.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from confluent_kafka.admin import AdminClient

from tests.server import free_port

POM = Path(__file__).with_name("pom.xml")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "bucketlog" / "kafka-4.3.1"
START_S = 60
BRIEF = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]  # a third less work to start; slower than others only when warm
MISSING = "no Kafka broker: set BUCKETLOG_TEST_KAFKA to bootstrap servers, or install Java 17+ and Maven, or start Docker"

_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_PROTOCOLS = {"SASL_SSL": "SASL_SSL", **dict.fromkeys(["CONTROLLER", "PLAINTEXT", "PROXIED"], "PLAINTEXT")}


class NoBroker(Exception):
    """There is nothing here that a broker could be started with."""


def jars() -> Path:
    """The folder of the broker's jars, fetched where it is missing."""
    if not (CACHE / "complete").exists():
        if not (shutil.which("java") and shutil.which("mvn")):
            raise NoBroker(MISSING)
        CACHE.mkdir(parents=True, exist_ok=True)
        command = ["mvn", "--quiet", "--file", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={CACHE}"]
        subprocess.run(command, check=True, cwd=CACHE)
        (CACHE / "complete").touch()
    return CACHE


class Security(NamedTuple):
    """Users (name → password) come in by SASL/PLAIN over TLS, and may do what ACLs let them; who comes in without, all."""

    users: dict[str, str]
    keys: Path  # PKCS #12
    keys_password: str

    def properties(self) -> dict[str, object]:
        known = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        return {
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{_LOGIN} required {known};",
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.location": self.keys,
            "ssl.keystore.password": self.keys_password,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }


class Broker:
    """One KRaft broker, or one of a cluster, as a process of its own; it may be killed, stopped and started again."""

    def __init__(
        self,
        folder: Path,
        *,
        node: int = 1,
        voters: dict[int, int] | None = None,
        cluster: str = "",
        security: Security | None = None,
        proxy_port: int = 0,
        host: str = "127.0.0.1",
        is_brief: bool = True,
    ) -> None:
        """With `security` users come in by `secure_port`; a proxy on `proxy_port` by `proxied_port`. With `is_brief` it is
        quickly there, and not so fast later."""
        self.folder = folder
        self.node = node
        self.host = host
        self.port = free_port()
        self.secure_port = free_port()
        self.proxied_port = free_port()
        self._security = security
        self._proxy_port = proxy_port
        self.controller_port = (voters or {}).get(node) or free_port()
        self._voters = voters or {node: self.controller_port}
        self._is_brief = is_brief
        self._cluster = cluster or uuid.uuid4().hex[:22]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> "Broker":
        config = self.folder / "server.properties"
        self.folder.mkdir(parents=True, exist_ok=True)
        config.write_text(self._properties())
        if not (self.folder / "data" / "meta.properties").exists():
            self._run("kafka.tools.StorageTool", "format", "-t", self._cluster, "-c", str(config)).wait(START_S)
        self.process = self._run("kafka.Kafka", str(config))
        return self

    def wait(self) -> "Broker":
        """Until it takes connections."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
                return self
            except OSError:
                if time.monotonic() > deadline or (self.process is not None and self.process.poll() is not None):
                    raise RuntimeError(f"the broker did not start; see {self.folder}/kafka.log") from None
                time.sleep(0.1)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.kill()

    def _run(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "kafka.log").open("ab") as log:
            command = [
                "java",
                "-Xmx512m",
                "-Xms256m",
                *(BRIEF if self._is_brief else ()),
                "-cp",
                f"{jars()}/*",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            ]
            # Ctrl-C is for who started it: brokers are to outlive who writes to them
            return subprocess.Popen([*command, *arguments], stdout=log, stderr=log, process_group=0)

    def _properties(self) -> str:
        replication = min(3, len(self._voters))
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in self._voters.items())
        settings = {
            "process.roles": "broker,controller",
            "node.id": self.node,
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{self.host}:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.host}:{self.port}",
            "listener.security.protocol.map": ",".join(f"{name}:{each}" for name, each in _PROTOCOLS.items()),
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.folder / "data",
            "offsets.topic.replication.factor": replication,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": replication,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "broker.session.timeout.ms": 4500,  # these two as docs/OPERATING.md advises
            "broker.heartbeat.interval.ms": 1000,
            "auto.create.topics.enable": "false",
            "log.cleaner.enable": "false",
        }
        if self._security:
            settings |= self._security.properties() | {
                "listeners": f"{settings['listeners']},SASL_SSL://127.0.0.1:{self.secure_port}",
                "advertised.listeners": f"{settings['advertised.listeners']},SASL_SSL://127.0.0.1:{self.secure_port}",
            }
        if self._proxy_port:
            settings |= {
                "listeners": f"{settings['listeners']},PROXIED://127.0.0.1:{self.proxied_port}",
                "advertised.listeners": f"{settings['advertised.listeners']},PROXIED://127.0.0.1:{self._proxy_port}",
            }
        return "".join(f"{name}={value}\n" for name, value in settings.items())


def remove_topics(bootstrap: str, prefix: str) -> None:
    """From a broker that was lent: each cluster of tests makes 120 partitions, and a broker with thousands is slow."""
    if bootstrap != os.environ.get("BUCKETLOG_TEST_KAFKA"):
        return
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = [name for name in admin.list_topics(timeout=START_S).topics if name.startswith(prefix)]
    for done in admin.delete_topics(names).values() if names else ():
        done.result()


@contextmanager
def any_broker(folder: Path, *, is_brief: bool = True) -> Iterator[str]:
    """Bootstrap servers of a broker. Raises `NoBroker`."""
    if named := os.environ.get("BUCKETLOG_TEST_KAFKA"):
        yield named
    elif _has_docker():
        from testcontainers.kafka import KafkaContainer

        with KafkaContainer("apache/kafka:4.3.1").with_kraft() as container:
            yield container.get_bootstrap_server()
    else:
        broker = Broker(folder, is_brief=is_brief).start().wait()
        try:
            yield broker.bootstrap
        finally:
            broker.stop()


def _has_docker() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], check=False, capture_output=True).returncode == 0


def main() -> int:
    try:
        with tempfile.TemporaryDirectory() as folder, any_broker(Path(folder)) as bootstrap:
            env = os.environ | {"BUCKETLOG_TEST_KAFKA": bootstrap}
            return subprocess.run(sys.argv[1:], check=False, env=env).returncode
    except NoBroker as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
