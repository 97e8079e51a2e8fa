"""`python -m benchmarks.cluster`: the speed of a cluster of processes on one Kafka broker, all of them on this machine.

What `benchmarks.bench` measures, at two gateways; how many commands a processor decides; how long an event takes to a
subscriber. `--record` writes the table to benchmarks/RESULTS-CLUSTER.md.
"""

import argparse
import asyncio
import json
import tempfile
import threading
import time
import uuid
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from benchmarks.bench import report
from benchmarks.cases import BUCKET, KIB, MIB, Case, lists, prepare, puts, reads
from benchmarks.load import call_once
from benchmarks.measure import measure
from benchmarks.requests import Call, Target
from tests.kafka.broker import any_broker
from tests.kafka.cluster import Cluster
from tests.server import ACCESS_KEY, SECRET_KEY
from topics import commands, spec
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import KafkaConfig
from topics.log import Entry
from topics.objects import Attributes, Extent, Preconditions

RESULTS = Path(__file__).with_name("RESULTS-CLUSTER.md")
COMMANDS = 40_000  # that the processor finds
BATCH = 500  # of them, in one append
EVENTS = 500  # whose way to a subscriber is timed
PAUSE_S = 0.01  # between two of them
CASES = [
    Case("PUT 4 KiB", 1, 4 * KIB, puts(4 * KIB), "p50 ≤ 8 ms"),
    Case("PUT 4 KiB", 16, 4 * KIB, puts(4 * KIB), "1,200/s"),
    Case("GET 4 KiB", 16, 4 * KIB, reads("GET", 4 * KIB)),
    Case("LIST 1,000 keys", 16, 0, lists),
    Case("PUT 1 MiB", 8, MIB, puts(MIB)),
    Case("GET 1 MiB", 8, MIB, reads("GET", MIB)),
]


def decided(cluster: Cluster) -> str:
    """A processor alone finds commands in one partition. From its first decision to its last, by the broker's clock."""
    for role in (*cluster.gateways, *cluster.processors):
        role.stop()
    asyncio.run(_ask(cluster))
    consumer = _events_from_now(cluster)
    cluster.processors[0].start()
    times: list[int] = []
    while len(times) < COMMANDS:
        for message in consumer.consume(10_000, 1):
            if not message.error() and json.loads(message.value() or b"")["event"]["eventName"] != "Claimed":
                times.append(message.timestamp()[1])
    consumer.close()
    rate = (COMMANDS - 1) / (times[-1] - times[0]) * 1000
    return f"| a processor's decisions | | {rate:,.0f}/s | | | 8,000/s |"


def _events_from_now(cluster: Cluster) -> Consumer:
    """On Kafka itself, of the bucket's partition."""
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "bench", "enable.auto.commit": False})
    at = TopicPartition(f"{cluster.prefix}events", spec.bucket_partition(BUCKET))
    _, at.offset = consumer.get_watermark_offsets(at)
    consumer.assign([at])
    return consumer


async def _ask(cluster: Cluster) -> None:
    log = await KafkaLog.open(KafkaConfig(cluster.bootstrap, cluster.prefix))
    at = spec.TopicPartition("commands", spec.bucket_partition(BUCKET))
    for first in range(0, COMMANDS, BATCH):
        await log.append(at, [_command(number) for number in range(first, first + BATCH)], durable=True)
    await log.close()


def _command(number: int) -> Entry:
    extent = Extent(uuid.uuid4().hex, 0, 4 * KIB, 0, -1)
    body = commands.PutObject(
        BUCKET, f"decided/{number}", 4 * KIB, f"{number:032x}", [extent], None, Attributes(), Preconditions()
    )
    deadline_ms = int((time.time() + 600) * 1000)
    command = commands.Command(uuid.uuid4().hex, ACCESS_KEY, "", deadline_ms, body)
    return Entry(BUCKET.encode(), commands.encode(command))


class Subscriber(threading.Thread):
    """On Kafka itself; notes when it saw the event of each key."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.seen_s: dict[str, float] = {}
        self._consumer = _events_from_now(cluster)
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and not message.error():
                key = json.loads(message.value() or b"")["event"].get("key", "")
                self.seen_s[key] = time.monotonic()
        self._consumer.close()


def heard(cluster: Cluster, target: Target) -> str:
    """From the start of a PUT to its event at a subscriber."""
    subscriber = Subscriber(cluster)
    subscriber.start()
    asked_s = {}
    for number in range(EVENTS):
        key = f"heard/{number}"
        asked_s[key] = time.monotonic()
        call_once(target, Call("PUT", f"/{BUCKET}/{key}", body=b"x" * 4 * KIB))
        time.sleep(PAUSE_S)
    time.sleep(1)
    subscriber.stopping.set()
    subscriber.join()
    ways = sorted(subscriber.seen_s[key] - asked for key, asked in asked_s.items())
    p50, p99 = (ways[int(len(ways) * share)] * 1000 for share in (0.5, 0.99))
    return f"| PUT to a subscriber on Kafka | 1 | | {p50:.1f} | {p99:.1f} | p99 ≤ 100 ms |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    rows = []
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as folder,
        any_broker(Path(folder) / "kafka", is_brief=False) as bootstrap,
    ):
        cluster = Cluster(Path(folder), bootstrap).start()
        targets = [Target("127.0.0.1", each.port, ACCESS_KEY, SECRET_KEY) for each in cluster.gateways]
        prepare(targets[0])
        for case in CASES:
            rows.append(measure(targets, case, options.seconds).row())
            print(rows[-1], flush=True)
        rows.append(heard(cluster, targets[0]))
        print(rows[-1], flush=True)
        rows.append(decided(cluster))
        print(rows[-1], flush=True)
        for role in (cluster.processors[0], cluster.datanode):
            role.stop()
    if options.record:
        more = " Two gateways, two processors, a data node and a broker, whose log is not synced before it acknowledges."
        RESULTS.write_text(report("make bench-cluster", rows, options.seconds, more))


if __name__ == "__main__":
    main()
