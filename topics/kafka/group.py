"""Which partitions this process is to own: a consumer group on `commands`, used for its assignments alone.

The group's consumer fetches nothing and commits nothing: who is assigned a partition claims it in the log, and the log is
what fences. So whoever loses a partition may go on until the next owner claims it: nobody waits for anybody here. (A member
that the brokers did not hear in time loses all, whether anybody else is given it or not, and gets it back only when the
group has settled, a whole session later.)
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Protocol

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition

from topics.kafka.config import KafkaConfig

# How long the group waits for a member that fell silent. Longer than brokers need to replace a lost one, which may be the
# group's coordinator (see docs/OPERATING.md), else each loss of a broker would move every partition.
SESSION_MS = 10_000
HEARTBEAT_MS = 1_000
GROUP = "bucketlog-owners"
POLL_S = 0.2
AGAIN_S = 1.0
log_ = logging.getLogger(__name__)


class Owner(Protocol):
    """What follows the assignments."""

    async def gained(self, partitions: set[int]) -> None: ...

    async def lost(self, partitions: set[int]) -> None: ...


class OwnerGroup:
    """Calls the owner in the event loop, one call after another."""

    def __init__(self, config: KafkaConfig, name: str, owner: Owner) -> None:
        """`name` is what Kafka's tools show of this member."""
        self._config = config
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self.failure = ""  # why this process is no member of the group now
        self._settings = config.consumer() | {
            "group.id": f"{config.prefix}{GROUP}",
            "client.id": name,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": HEARTBEAT_MS,
            "auto.offset.reset": "latest",
        }
        self._thread = threading.Thread(target=self._poll, name="kafka group", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Leave the group."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _poll(self) -> None:
        """A member of the group; after any failure another one. What was owned stays so until another claims it."""
        while not self._stopping.is_set():
            try:
                self._be_member()
            except Exception as error:  # whatever it is, without a member nothing is assigned here
                self.failure = f"not in the group of owners: {error}"
                log_.exception("the group of owners is joined again: %s", error)
                self._stopping.wait(AGAIN_S)

    def _be_member(self) -> None:
        consumer = Consumer(self._settings)
        try:
            topic = f"{self._config.prefix}commands"
            consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)
            while not self._stopping.is_set():
                consumer.poll(POLL_S)
                self.failure = ""
        finally:
            consumer.close()

    def _assigned(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)  # records are read elsewhere, from the position that the view knows
        self._tell(self._owner.gained(_numbers(partitions)))

    def _revoked(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        self._tell(self._owner.lost(_numbers(partitions)))
        consumer.incremental_unassign(partitions)

    def _tell(self, change: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(change, self._loop).add_done_callback(_report)


def _report(told: "Future[None]") -> None:
    if not told.cancelled() and (error := told.exception()) is not None:
        log_.critical("what the group of owners assigned was not followed; restart bucketlog: %s", error, exc_info=error)


def _numbers(partitions: list[KafkaPartition]) -> set[int]:
    return {each.partition for each in partitions}
