"""Faust judges data nodes on a real broker: who falls silent is down; whoever judges may be killed, and the broker too."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from processors.faust_app import GROUP, FaustConfig, JudgeApp
from processors.faust_life import FaustLife
from processors.judge import AT, Judge
from processors.liveness import Liveness
from tests.kafka.broker import Broker, remove_topics
from tests.kafka.cluster import Cluster, Role
from topics import events, heartbeats, spec
from topics.heartbeats import Heard, Heartbeat
from topics.kafka.adapter import KafkaLog
from topics.kafka.config import KafkaConfig
from topics.kafka.security import security
from topics.log import Entry, LogError, Record
from topics.placement import Node, Placement, State
from topics.secret import ClusterSecret
from topics.spec import CONTROL_PARTITION, TopicPartition

pytestmark = [pytest.mark.kafka, pytest.mark.faults]
GRACE_S = 3.0
TOLD_S = 8.0  # within which it is known behind the grace: a tick each second, and this machine may be busy
TAKEN_OVER_S = 15.0
SECRET = ClusterSecret(b"a secret of a test cluster")


@pytest.fixture
def cluster(tmp_path: Path, kafka: str) -> Iterator[Cluster]:
    with Cluster(tmp_path, kafka, gateways=0, datanodes=3, env={"BUCKETLOG_GRACE_S": str(GRACE_S)}) as made:
        yield made


def changes(cluster: Cluster) -> list[tuple[str, State]]:
    """What became of each node, in its order, as the events have it."""

    async def read() -> list[tuple[str, State]]:
        log = await KafkaLog.open(KafkaConfig(cluster.bootstrap, cluster.prefix))
        at, found = TopicPartition("events", CONTROL_PARTITION), []
        offset = await log.earliest(at)
        while records := await log.read(at, offset):
            offset = records[-1].offset + 1
            told = (events.decode(record.value).event for record in records)
            found += [(each.node.name, each.node.state) for each in told if isinstance(each, events.NodeChanged)]
        await log.close()
        return found

    return asyncio.run(read())


def wait_for(cluster: Cluster, name: str, state: State, within_s: float) -> None:
    """Until it is the node's latest state."""
    deadline = time.monotonic() + within_s
    while dict(changes(cluster)).get(name) is not state:
        assert time.monotonic() < deadline, f"{name} is not {state} after {within_s} s: {changes(cluster)}"
        time.sleep(0.2)


def judging(cluster: Cluster) -> Role:
    group, deadline = f"{cluster.prefix}{GROUP}", time.monotonic() + 20
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap})
    while time.monotonic() < deadline:
        for member in admin.describe_consumer_groups([group])[group].result().members:
            if any(each.topic.endswith(AT.topic) for each in member.assignment.topic_partitions):
                return next(role for role in cluster.processors if role.endpoint == member.client_id)
        time.sleep(0.2)
    raise RuntimeError("nobody judges")


def test_whose_heartbeats_stop_is_down_and_up_when_they_come_again_and_nobody_else_is(cluster: Cluster) -> None:
    names = [f"node{number}" for number in range(3)]
    for name in names:
        wait_for(cluster, name, State.UP, 20)
    cluster.datanodes[2].kill()
    wait_for(cluster, "node2", State.DOWN, GRACE_S + TOLD_S)
    cluster.datanodes[2].start().wait()
    wait_for(cluster, "node2", State.UP, TOLD_S)

    killed = judging(cluster)
    killed.kill()
    cluster.datanodes[1].kill()
    wait_for(cluster, "node1", State.DOWN, TAKEN_OVER_S + GRACE_S + TOLD_S)
    cluster.datanodes[1].start().wait()
    wait_for(cluster, "node1", State.UP, TOLD_S)
    killed.start().wait()
    down = [name for name, state in changes(cluster) if state is not State.UP]
    assert down == ["node2", "node1"]


class Heartbeats:
    """A judge over a real log that keeps what it was handed, and a node that it hears."""

    def __init__(self, config: KafkaConfig, log: KafkaLog) -> None:
        self.config = config
        self.log = log
        self.taken: list[Record] = []
        self.came = asyncio.Condition()
        self.submitted: list[object] = []
        self.tables: list[MutableMapping[str, Heard]] = []
        self.fails_at = -1  # how many records in
        self.life = FaustLife(self._app, lambda: True)

    def _app(self) -> JudgeApp:
        return JudgeApp(FaustConfig(self.config, security({}), "test"), SECRET, self._judge)

    def _judge(self, heard: MutableMapping[str, Heard]) -> Judge:
        self.tables.append(heard)
        node = Node("n", "i", "b", "http://n", "d", 1)
        liveness = Liveness(self.log.identity, heard=heard)
        outer = self

        class Kept(Judge):
            async def take(self, record: Record) -> None:
                outer.taken.append(record)
                async with outer.came:
                    outer.came.notify_all()
                if len(outer.taken) == outer.fails_at:
                    raise RuntimeError("planted")
                await super().take(record)

        return Kept(self.log, liveness, SECRET, lambda: Placement(1, nodes={"n": node}), self._submit, 3)

    async def _submit(self, body: object) -> None:
        self.submitted.append(body)

    async def beat(self) -> None:
        """For ever."""
        while True:
            said = Heartbeat("n", "i", "b", "http://n", "d", self.log.identity, int(time.time() * 1000), 1, 0, False, {})
            try:
                await self.log.append(AT, [Entry(b"n", heartbeats.encode(said, SECRET))], durable=True)
            except LogError:
                continue
            await asyncio.sleep(1)

    async def more(self, count: int, within_s: float = 30) -> None:
        """Until so many more records were judged."""
        wanted = len(self.taken) + count
        async with asyncio.timeout(within_s), self.came:
            await self.came.wait_for(lambda: len(self.taken) >= wanted)


def run(bootstrap: str, case: Callable[[Heartbeats], Awaitable[None]]) -> None:
    config = KafkaConfig(bootstrap, f"j{uuid.uuid4().hex[:6]}-", replication=1, min_in_sync=1)

    async def whole() -> None:
        log = await KafkaLog.open(config)
        await log.create_topics(spec.CLUSTER)
        made = Heartbeats(config, log)
        tasks = [asyncio.create_task(made.beat()), asyncio.create_task(made.life.run())]
        await case(made)
        await made.life.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await log.close()

    try:
        asyncio.run(whole())
    finally:
        remove_topics(bootstrap, config.prefix)


def test_what_is_judged_is_the_brokers_time_of_a_record_not_the_senders(kafka: str) -> None:
    async def case(made: Heartbeats) -> None:
        await made.more(1)
        producer = Producer({"bootstrap.servers": kafka})
        producer.produce(f"{made.config.prefix}{AT.topic}", b"", key=b"old", timestamp=1_000)
        assert await asyncio.to_thread(producer.flush, 10) == 0
        while not (old := [record for record in made.taken if record.key == b"old"]):
            await made.more(1)
        assert old == await made.log.read(AT, old[0].offset, records_max=1)
        assert abs(old[0].time_ms - time.time() * 1000) < 60_000

    run(kafka, case)


def test_what_was_heard_survives_who_heard_it(kafka: str) -> None:
    async def case(made: Heartbeats) -> None:
        await made.more(3)
        known = dict(made.tables[0])
        await made.life.stop()
        again = Heartbeats(made.config, made.log)
        again.taken = made.taken
        found: list[dict[str, Heard]] = []

        class First(list[Record]):
            def append(self, record: Record) -> None:
                found.append(dict(again.tables[0]))
                super().append(record)

        again.taken = First()
        running = asyncio.create_task(again.life.run())
        await again.more(1)
        await again.life.stop()
        await running
        assert set(known) == {"n"}
        assert found[0]["n"].time_ms >= known["n"].time_ms

    run(kafka, case)


def test_a_record_that_trips_up_the_judge_is_told_and_those_behind_it_are_judged(
    kafka: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def case(made: Heartbeats) -> None:
        made.fails_at = 2
        await made.more(5)
        assert made.life.lives == 1

    run(kafka, case)
    assert "planted" in caplog.text


def test_a_broker_that_is_away_is_waited_for_and_nobody_is_down_by_it(tmp_path: Path) -> None:
    broker = Broker(tmp_path / "broker").start().wait()

    async def case(made: Heartbeats) -> None:
        await made.more(1)
        broker.kill()
        await asyncio.sleep(7)  # longer than a session, and than what counts as a stall
        broker.start().wait()
        await made.more(2)
        assert made.submitted == []

    try:
        run(broker.bootstrap, case)
    finally:
        broker.kill()
