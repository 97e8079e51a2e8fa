"""Which partitions this process is to own: a consumer group on `commands`, used for its assignments alone.

The group's consumer fetches nothing and commits nothing: who is assigned a partition claims it in the log, and the log is
what fences. A revocation waits until the partition was let go, so that the next owner need not wait for a lease to run out.
A member that the brokers did not hear in time is told that it lost all, whether anybody else was given it or not, and it
takes a whole session more until the group has settled. It goes on in doubt until then.
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
LET_GO_S = 5.0
log_ = logging.getLogger(__name__)


class Owner(Protocol):
    """What follows the assignments."""

    async def gained(self, partitions: set[int]) -> None: ...

    async def doubted(self, partitions: set[int]) -> None:
        """What was gained may be another's by now; `gained` or `lost` comes once it is known."""

    async def lost(self, partitions: set[int]) -> None:
        """Returns when the next owner may begin."""


class OwnerGroup:
    """Calls the owner in the event loop, one call after another."""

    def __init__(self, config: KafkaConfig, name: str, owner: Owner) -> None:
        """`name` is what Kafka's tools show of this member."""
        self._config = config
        self._owner = owner
        self._doubted: set[int] = set()
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()
        self._consumer = Consumer(
            config.consumer()
            | {
                "group.id": f"{config.prefix}{GROUP}",
                "client.id": name,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": HEARTBEAT_MS,
                "auto.offset.reset": "latest",
            }
        )
        self._thread = threading.Thread(target=self._poll, name="kafka group", daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def stop(self) -> None:
        """Leave the group; what is held is let go first."""
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)

    def _poll(self) -> None:
        topic = f"{self._config.prefix}commands"
        self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._missed)
        while not self._stopping.is_set():
            self._consumer.poll(POLL_S)
        self._consumer.close()

    def _assigned(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)  # records are read elsewhere, from the position that the view knows
        gained = _numbers(partitions)
        elsewhere, self._doubted = self._doubted - gained, set()
        if elsewhere:
            self._let_go(elsewhere)
        self._tell(self._owner.gained(gained))

    def _revoked(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        self._let_go(_numbers(partitions))
        consumer.incremental_unassign(partitions)

    def _missed(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        self._doubted |= _numbers(partitions)
        self._tell(self._owner.doubted(_numbers(partitions)))
        consumer.incremental_unassign(partitions)

    def _let_go(self, partitions: set[int]) -> None:
        try:
            self._tell(self._owner.lost(partitions)).result(LET_GO_S)
        except TimeoutError:
            log_.error("partitions could not be let go in time; their next owner waits for the lease to run out")

    def _tell(self, change: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(change, self._loop)


def _numbers(partitions: list[KafkaPartition]) -> set[int]:
    return {each.partition for each in partitions}
