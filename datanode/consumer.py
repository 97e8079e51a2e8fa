"""Consumption of `writes`: payloads into volumes, releases out of them. Starts at the earliest record kept, each time.

Idempotent: a blob that is whole stays as it is, so reading records again does no harm. Records are trimmed only when the
volumes that hold them are synced.
"""

import asyncio
import logging

from datanode.layout import UNKNOWN_PARTITION
from datanode.store import NewBlob, VolumeStore
from topics import writes
from topics.log import Log, LogError, Record, decoded
from topics.spec import TopicPartition

TRIM_AFTER_BYTES = 16 << 20
TRIM_AFTER_RECORDS = 20_000
SETTLE_BYTES = 256 << 20  # of payloads that a start may have to read again: a fraction of a second
SETTLE_EVERY_S = 1.0
log_ = logging.getLogger(__name__)


class WritesConsumer:
    def __init__(self, log: Log, store: VolumeStore, group: int) -> None:
        self._log = log
        self._store = store
        self._at = TopicPartition("writes", group)
        self._position = 0
        self._untrimmed_bytes = 0
        self._untrimmed_records = 0
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    async def run(self) -> None:
        self._position = await self._log.earliest(self._at)
        async for batch in self._log.follow(self._at, self._position):
            self.consume(batch)
            if self._untrimmed_bytes > TRIM_AFTER_BYTES or self._untrimmed_records > TRIM_AFTER_RECORDS:
                await self.trim()

    async def reached(self, position: int) -> None:
        """Return when the record at `position` is in the volumes."""
        if self._position > position:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((position, waiter))
        await waiter

    async def trim(self) -> None:
        """Sync the volumes and give up the records that they hold."""
        position = self._position
        self._untrimmed_bytes = self._untrimmed_records = 0
        await self._store.sync()
        await self._log.trim(self._at, position)

    async def keep_settled(self, settle_bytes: int = SETTLE_BYTES) -> None:
        """For ever: large blobs come past the log, so the volumes are settled by what they were given, too."""
        while True:
            try:
                if self._store.unsettled_bytes > settle_bytes:
                    await self.trim()
            except (LogError, OSError) as error:
                log_.error("the volumes could not be settled, this will be tried again: %s", error)
            await asyncio.sleep(SETTLE_EVERY_S)

    def consume(self, batch: list[Record]) -> None:
        payloads: list[NewBlob] = []
        for record in batch:
            if decoded(self._at, record, writes.is_release):
                self._store.put_all(payloads)
                payloads = []
                self._store.release(self._at.partition, [record.key])
            else:
                payloads.append(NewBlob(self._at.partition, record.key, UNKNOWN_PARTITION, record.value[1:]))
            self._untrimmed_bytes += len(record.value)
        self._store.put_all(payloads)
        self._untrimmed_records += len(batch)
        self._position = batch[-1].offset + 1
        waiting, self._waiters = self._waiters, []
        for position, waiter in waiting:
            if position >= self._position:
                self._waiters.append((position, waiter))
            elif not waiter.done():
                waiter.set_result(None)
