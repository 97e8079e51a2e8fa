"""Scrub: reads and verifies everything that is live, so that damage is found while a replica can still mend it.

Rules: goes through the index in order, at a bounded rate, in threads; a pass starts each period, or when the one before has
ended, if that is later. A pass that was broken off goes on where it was, after a restart too: else the end of a large disk
would never be read.
"""

import asyncio
import logging

from datanode import layout
from datanode.compaction import OnDamaged, tell_damaged
from datanode.index import Entry
from datanode.store import VolumeStore

BYTES_PER_S = 20 << 20  # 1 TiB in 15 hours
PERIOD_S = 14 * 86_400.0
BATCH_BYTES, BATCH_RECORDS = 1 << 20, 256  # between two pauses
STORED_EVERY = 100  # batches: each 5 s or so
log_ = logging.getLogger(__name__)


class Scrubber:
    def __init__(
        self, store: VolumeStore, on_damaged: OnDamaged = tell_damaged, *, bytes_per_s: float = BYTES_PER_S
    ) -> None:
        self.verified = 0  # records, of all passes
        self._store = store
        self._on_damaged = on_damaged
        self._bytes_per_s = bytes_per_s
        self._after = store.index.scrubbed()  # group and blob
        self._unstored = 0  # batches

    async def run(self, period_s: float = PERIOD_S) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            next_s = loop.time() + period_s
            try:
                await self.scrub()
            except OSError as error:
                log_.error("the scrub was broken off, it goes on in the next period: %s", error)
            await asyncio.sleep(max(0.0, next_s - loop.time()))

    async def scrub(self) -> None:
        """The rest of one pass."""
        while batch := self._next_batch():
            for entry in await self._store.damaged(batch):
                self._on_damaged(entry.group, entry.blob)
            self.verified += len(batch)
            await self._move(batch[-1].group, batch[-1].blob)
            await asyncio.sleep(sum(layout.record_bytes(entry.place.length) for entry in batch) / self._bytes_per_s)
        self._unstored = STORED_EVERY
        await self._move(0, b"")

    async def _move(self, group: int, blob: bytes) -> None:
        self._after = group, blob
        self._unstored += 1
        if self._unstored >= STORED_EVERY:
            await self._store.answers()
            self._store.index.put_scrubbed(group, blob)
            self._unstored = 0

    def _next_batch(self) -> list[Entry]:
        batch: list[Entry] = []
        size = 0
        for entry in self._store.index.entries(*self._after):
            batch.append(entry)
            size += layout.record_bytes(entry.place.length)
            if size >= BATCH_BYTES or len(batch) >= BATCH_RECORDS:
                break
        return batch
