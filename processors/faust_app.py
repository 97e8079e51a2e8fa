"""The Faust app that judges data nodes: an agent consumes `heartbeats`, a table holds each node's latest one (its changelog
is the topic `heard`), a timer sends the ticks. Faust's group decides which processor judges.

It is Faust as a library, in this process and its event loop; only its consumer has a thread of its own. There is no worker,
web server, signal handler, leader topic or folder, and no topic is created. One app is one life: what goes wrong in it ends
it, and `processors.faust_life` starts another.
"""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, NamedTuple, cast

import faust
from faust.serializers.codecs import Codec
from faust.transport.drivers import aiokafka as driver
from mode.threads import WorkerThread
from yarl import URL

from processors.judge import Judge
from topics import heartbeats
from topics.heartbeats import EVERY_S, Heard
from topics.kafka.config import KafkaConfig
from topics.kafka.security import Security
from topics.log import Record
from topics.secret import ClusterSecret
from topics.spec import HEARD, HEARTBEATS

GROUP = "bucketlog-judge"
SESSION_S = 6.0  # the least that brokers take by default: a judge that moves costs nothing, one that is missing does
REQUEST_S = 15.0
COMMIT_S = 2.0
CUT_OFF_S = 0.5  # for what was cancelled to close its connections
log_ = logging.getLogger(__name__)
for library in ("aiokafka", "faust", "mode"):
    logging.getLogger(library).setLevel(logging.CRITICAL + 1)  # `faust_life` tells what matters of it, in one line
QUIET = logging.getLogger("faust.bucketlog")  # of what is made here: Faust's classes log under the module's name else

MakeJudge = Callable[[MutableMapping[str, Heard]], Judge]


class FaustConfig(NamedTuple):
    kafka: KafkaConfig
    security: Security
    name: str  # what Kafka's tools show of this member


def addresses(bootstrap: str) -> list[str]:
    """host:port of each broker, of what librdkafka takes: [protocol://]host[:port],… Raises `ValueError`."""
    found = [each.strip().rpartition("://")[2] for each in bootstrap.split(",")]
    for each in found:
        if not URL(f"aiokafka://{each}").host:
            raise ValueError(f"{each!r} in the bootstrap servers is not host:port")
    return found


class JudgeApp(faust.App):
    logger = QUIET

    def __init__(self, config: FaustConfig, secret: ClusterSecret, make_judge: MakeJudge) -> None:
        prefix = config.kafka.prefix
        super().__init__(
            f"{prefix}{GROUP}",
            broker=[URL(f"aiokafka://{each}") for each in addresses(config.kafka.bootstrap)],
            broker_credentials=_credentials(config.security),
            broker_client_id=config.name,
            broker_session_timeout=SESSION_S,
            broker_heartbeat_interval=1.0,
            broker_rebalance_timeout=SESSION_S,
            broker_request_timeout=REQUEST_S,
            broker_commit_interval=COMMIT_S,
            producer_acks=-1,
            producer_request_timeout=REQUEST_S,
            consumer_auto_offset_reset="latest",
            store="memory://",
            stream_wait_empty=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
        )
        codec = _HeardCodec(secret=secret)
        changelog = self.topic(
            f"{prefix}{HEARD.name}",
            partitions=1,
            internal=True,
            key_serializer="json",
            value_serializer=codec,
        )
        table = cast(faust.Table[str, Heard], self.Table(HEARD.name, partitions=1, changelog_topic=changelog))
        table.value_serializer = codec
        said = self.topic(f"{prefix}{HEARTBEATS.name}", key_serializer="raw", value_serializer="raw", acks=True)
        self.judge = make_judge(table)
        self.said_name = said.get_topic_name()
        self.agent(said, name="judge")(self._judge)
        self.timer(EVERY_S, name="tick")(self._tick)

    @property
    def is_assigned(self) -> bool:
        return any(each.topic == self.said_name for each in self.consumer.assignment())

    def cut_off(self) -> None:
        """Ends the consumer's thread whatever it waits for. Alive it would stay in the group, and judge nothing."""
        loop = cast(_Consumer, self.consumer).thread_loop
        with contextlib.suppress(RuntimeError):  # it has ended
            loop.call_soon_threadsafe(_cancel_all, loop)

    async def _judge(self, stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            record = Record(message.offset, round(message.timestamp * 1000), message.key or b"", message.value or b"")
            try:
                await self.judge.take(record)
            except Exception as error:  # a bug: what this record tells is not judged, what others tell is
                log_.critical("a heartbeat cannot be judged: %s; report it", error, exc_info=error)

    @property
    def unread_ticks(self) -> int:
        return self.judge.unread_ticks

    async def _tick(self) -> None:
        if self.is_assigned:
            await self.judge.tick()

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Its table lives in memory and in its changelog."""


class _HeardCodec(Codec):
    """A table's values, and what lies in its changelog. What cannot be read any more is as if it were not there."""

    def _dumps(self, heard: Heard) -> bytes:
        return heartbeats.encode(heard, self.kwargs["secret"])

    def _loads(self, data: bytes) -> Any:
        return heartbeats.decode(data, self.kwargs["secret"])


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_later(CUT_OFF_S, loop.stop)


class _Thread(WorkerThread):
    def __init__(self, service: Any, **options: Any) -> None:
        super().__init__(service, **options)
        self.daemon = True  # the process need not wait for one that hangs

    def run(self) -> None:
        try:
            super().run()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - it ends the app, and is told there
            QUIET.error("%r", error, exc_info=error)


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    logger = QUIET
    Worker = _Thread

    def on_crash(self, msg: str, *fmt: Any, **_: Any) -> None:
        """Does not print: the error ends the app, and is told there."""
        QUIET.error(msg.format(*fmt), exc_info=sys.exc_info())


class _Consumer(driver.Consumer):
    logger = QUIET

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @property
    def thread_loop(self) -> asyncio.AbstractEventLoop:
        return self._thread.thread_loop


class _Transport(driver.Transport):
    Consumer = _Consumer


def _credentials(security: Security) -> Any:
    if security.mechanism:
        return faust.SASLCredentials(
            username=security.username,
            password=security.password,
            ssl_context=security.context,
            mechanism=security.mechanism,
        )
    return faust.SSLCredentials(context=security.context) if security.context else None
