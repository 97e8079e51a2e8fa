"""`make cluster`: the cluster of docker/compose.yaml as processes of this machine, for who has no Docker.

Three brokers from Maven's jars, four data nodes in three failure domains, two processors, two gateways, on fixed ports of
loopback; all they keep is in one folder, and the next start finds it. Ctrl-C or SIGTERM stops gateways first, brokers last.
A process that ends by itself, or by your hand, is told of and not started again: see what the others do without it.
Errors: one line on stderr and exit code 1 for what is missing, a port that is taken, a process that does not start.
"""

import argparse
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bucketlog import credentials
from bucketlog.settings import Settings
from tests.kafka import broker
from tests.kafka.broker import Broker
from tests.kafka.cluster import Cluster, Role

BROKERS = {1: (9092, 9095), 2: (9093, 9096), 3: (9094, 9097)}  # node → port for clients, port for controllers
PORTS = {"gateway": 9000, "datanode": 9100, "processor": 9200}  # of the first of each role; the others follow
DOMAINS = ["rack1", "rack2", "rack3", "rack1"]  # of the data nodes
KAFKA_ID = "bucketlogLocalCluster1"  # in Kafka's form of a UUID
LOOK_S = 1.0  # for processes that ended
STOPPING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class CannotStart(Exception):
    """The text says why and what to do."""


def check_tools() -> None:
    needed = ["java"] if (broker.CACHE / "complete").exists() else ["java", "mvn"]
    if missing := [each for each in needed if shutil.which(each) is None]:
        raise CannotStart(f"not found: {', '.join(missing)}; Kafka needs Java 17 or later, and Maven to fetch it once")


def check_ports(ports: list[int]) -> None:
    taken = []
    for port in ports:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                taken.append(port)
    if taken:
        raise CannotStart(f"taken on 127.0.0.1: port {', '.join(map(str, taken))}; stop what listens there")


def new_brokers(folder: Path) -> list[Broker]:
    voters = {node: controller for node, (_, controller) in BROKERS.items()}
    made = [Broker(folder / f"kafka{node}", node=node, voters=voters, cluster=KAFKA_ID, is_brief=False) for node in BROKERS]
    for each in made:
        each.port, _ = BROKERS[each.node]
    return made


def new_cluster(folder: Path, bootstrap: str, keys: Mapping[str, str]) -> Cluster:
    env = {"BUCKETLOG_KAFKA_PREFIX": "", "BUCKETLOG_CLUSTER_SECRET": kept_secret(folder / "cluster-secret"), **keys}
    cluster = Cluster(folder, bootstrap, datanodes=len(DOMAINS), replication=len(BROKERS), env=env)
    for node, domain in zip(cluster.datanodes, DOMAINS, strict=True):
        node.env["BUCKETLOG_FAILURE_DOMAIN"] = domain
    for roles in (cluster.datanodes, cluster.processors, cluster.gateways):
        for number, role in enumerate(roles):
            role.port = PORTS[role.name] + number
            role.endpoint = f"http://127.0.0.1:{role.port}"
            role.told = folder / f"{role.name}-{role.port}.log"
    return cluster


def kept_secret(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32))
    return path.read_text()


def kept_keys(folder: Path) -> dict[str, str]:
    """As `bucketlog serve` makes and keeps them."""
    root, _ = credentials.load(Settings(), [folder])
    return {"BUCKETLOG_ACCESS_KEY_ID": root.access_key, "BUCKETLOG_SECRET_ACCESS_KEY": root.secret(root.access_key) or ""}


@contextmanager
def running(brokers: list[Broker], cluster: Cluster) -> Iterator[None]:
    """Started from the brokers to the gateways, and stopped the other way round, whatever happened between."""
    with ExitStack() as stack:
        stack.callback(stop_brokers, brokers)
        for each in brokers:
            each.start()
        for each in brokers:
            each.wait()
        for role in cluster.roles:
            stack.callback(stop_role, role)
            role.start()
        for role in cluster.roles:
            role.wait()
        yield


def stop_role(role: Role) -> None:
    if role.process is None:  # interrupted before
        return
    try:
        role.stop()
    except subprocess.TimeoutExpired:
        role.kill()


def stop_brokers(brokers: list[Broker]) -> None:
    """All at once: the last one alone would wait for a quorum."""
    for each in brokers:
        if each.process is not None:
            each.process.terminate()
    for each in brokers:
        if each.process is not None:
            each.stop()


def greeting(folder: Path, brokers: list[Broker], cluster: Cluster, keys: Mapping[str, str]) -> str:
    key, secret = keys.values()
    aws = f"AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION=us-east-1"
    processes = [("broker", each.port, each.process) for each in brokers]
    processes += [(each.name, each.port, each.process) for each in cluster.roles]
    return "\n".join(
        [
            f"A cluster serves S3 at {' and '.join(each.endpoint for each in cluster.gateways)}",
            f"  data and what the processes tell in {folder}",
            f"  access key id {key}, secret access key {secret}",
            f"  try: {aws} aws --endpoint-url {cluster.endpoint} s3 mb s3://photos",
            *(f"  {name:10} 127.0.0.1:{port}  pid {process.pid}" for name, port, process in processes if process),
            "Ctrl-C stops it",
        ]
    )


def watch(brokers: list[Broker], cluster: Cluster) -> None:
    """For ever; tells of who ended."""
    alive = {f"the broker on port {each.port}": each.process for each in brokers}
    alive |= {f"the {each.name} on port {each.port}": each.process for each in cluster.roles}
    while True:
        time.sleep(LOOK_S)
        for name, process in list(alive.items()):
            if process is not None and process.poll() is not None:
                print(f"{name} ended with exit code {process.returncode}; the rest goes on", flush=True)
                del alive[name]


def interrupt(*_: object) -> None:
    """Once: what is stopping is not interrupted."""
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)
    print("stopping", flush=True)
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description="A cluster of processes on this machine.")
    parser.add_argument(
        "--data", type=Path, default=Path("data-cluster"), help="folder for all data [default: data-cluster]"
    )
    folder = parser.parse_args().data.resolve()
    for each in STOPPING:
        signal.signal(each, interrupt)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        keys, brokers = kept_keys(folder), new_brokers(folder)
        cluster = new_cluster(folder, ",".join(each.bootstrap for each in brokers), keys)
        check_tools()
        check_ports([*(port for ports in BROKERS.values() for port in ports), *(each.port for each in cluster.roles)])
        if not (broker.CACHE / "complete").exists():
            print("Maven fetches Kafka, once: 44 MB", flush=True)
        print("starting brokers, data nodes, processors and gateways; a minute at most", flush=True)
        with running(brokers, cluster):
            print(greeting(folder, brokers, cluster, keys), flush=True)
            watch(brokers, cluster)
    except KeyboardInterrupt:
        return 0
    except (CannotStart, subprocess.CalledProcessError, OSError) as error:
        print(f"cluster: {error}", file=sys.stderr)
    except RuntimeError as error:  # of one that did not start
        print(f"cluster: {error}; see the logs in {folder}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
