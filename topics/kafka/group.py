"""Which partitions this process is to own: a consumer group on `commands`, used for its assignments alone.

The group's consumer fetches nothing and commits nothing: who is assigned a partition claims it in the log, and the log is
what fences. A revocation waits until the partition was let go, so that the next owner need not wait for a lease to run out.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable

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
Change = Callable[[set[int]], Awaitable[None]]


class OwnerGroup:
    """Calls `gained` and `lost` in the event loop, one after another."""

    def __init__(self, config: KafkaConfig, name: str, gained: Change, lost: Change) -> None:
        """`name` is what Kafka's tools show of this member."""
        self._config = config
        self._gained = gained
        self._lost = lost
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
        self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)
        while not self._stopping.is_set():
            self._consumer.poll(POLL_S)
        self._consumer.close()

    def _assigned(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        consumer.incremental_assign(partitions)
        consumer.pause(partitions)  # records are read elsewhere, from the position that the view knows
        asyncio.run_coroutine_threadsafe(_awaited(self._gained(_numbers(partitions))), self._loop)

    def _revoked(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        letting_go = asyncio.run_coroutine_threadsafe(_awaited(self._lost(_numbers(partitions))), self._loop)
        try:
            letting_go.result(LET_GO_S)
        except TimeoutError:
            log_.error("partitions could not be let go in time; their next owner waits for the lease to run out")
        finally:
            consumer.incremental_unassign(partitions)


async def _awaited(change: Awaitable[None]) -> None:
    await change


def _numbers(partitions: list[KafkaPartition]) -> set[int]:
    return {each.partition for each in partitions}
