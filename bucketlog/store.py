"""The whole store in one process on the embedded log: what `bucketlog serve` runs, without its HTTP server."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from datanode import compaction
from datanode.client import GROUP, Blobs
from datanode.compaction import Compactor
from datanode.consumer import SETTLE_BYTES, WritesConsumer
from datanode.index import BlobIndex, Table
from datanode.node import LocalNode
from datanode.scrub import Scrubber
from datanode.store import VOLUME_BYTES, VolumeStore
from gateway.submit import Commander
from processors.housekeeping import RELEASE_AFTER_S, keep_house
from processors.reads import ViewReads
from processors.replica import Replica, ViewMismatch
from processors.runtime import PartitionRuntime
from processors.view import View
from topics import spec
from topics.disk import Disk, OsDisk
from topics.embedded import EmbeddedLog
from topics.journal import SEGMENT_BYTES
from topics.log import UnknownRecord
from topics.rocksdb import RocksMap

GATEWAY = "local"
log_ = logging.getLogger(__name__)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def open_store(data: Path) -> "Store":
    """The store of a data folder, on files and RocksDB. Raises `LogError`, `OSError`."""
    views = [RocksMap(data / "view" / f"{number:04}") for number in range(spec.EVENTS.partitions)]
    return Store(OsDisk(data), RocksMap(data / "index"), views, now_ms)


class Store:
    def __init__(
        self,
        disk: Disk,
        index: Table,
        views: Sequence[View],
        clock_ms: Callable[[], int],
        *,
        segment_bytes: int = SEGMENT_BYTES,
        volume_bytes: int = VOLUME_BYTES,
        release_after_s: float = RELEASE_AFTER_S,
        settle_bytes: int = SETTLE_BYTES,
        compact_every_s: float = compaction.PERIOD_S,
    ) -> None:
        self._release_after_s = release_after_s
        self._settle_bytes = settle_bytes
        self._compact_every_s = compact_every_s
        self._clock_ms = clock_ms
        self._disk = disk
        self.log = EmbeddedLog(disk, clock_ms, segment_bytes=segment_bytes)
        self._volumes = VolumeStore(disk, BlobIndex(index), volume_bytes=volume_bytes)
        self._consumer = WritesConsumer(self.log, self._volumes, GROUP)
        self.blobs = Blobs(self.log, LocalNode(self._volumes, self._consumer))
        self.commander = Commander(self.log, GATEWAY, clock_ms, durable=False)
        self._views = views
        self.reads = ViewReads(dict(enumerate(views)))
        owner = uuid.uuid4().hex
        self._runtimes = [
            PartitionRuntime(self.log, Replica(self.log, view, number), owner, self.commander)
            for number, view in enumerate(views)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_ready(self) -> bool:
        return all(runtime.is_claimed for runtime in self._runtimes) and not any(task.done() for task in self._tasks)

    async def start(self) -> None:
        """Serve from here on; returns when every partition is claimed. Raises what keeps a partition from it."""
        await self.log.create_topics(spec.ALL)
        self._run("writes", self._consumer.run())
        for number, runtime in enumerate(self._runtimes):
            await runtime.claim()
            self._run(f"partition {number}", runtime.run_alone())
        self._run("volumes", self._consumer.keep_settled(self._settle_bytes))
        self._run("compaction", Compactor(self._volumes).run(self._compact_every_s))
        self._run("scrub", Scrubber(self._volumes).run())
        owned = dict(enumerate(self._runtimes))
        self._run("housekeeping", keep_house(self.log, lambda: owned, self._clock_ms, self._release_after_s))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._consumer.trim()
        await self.log.close()
        self._volumes.close()
        for view in self._views:
            view.close()
        self._disk.close()

    def _run(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(report)
        self._tasks.append(task)


def report(task: asyncio.Task[None]) -> None:
    """Of a task that should run for ever: tells what ended it."""
    if not task.cancelled() and (error := task.exception()) is not None:
        advice = (
            ""
            if isinstance(error, ViewMismatch | UnknownRecord)
            else "; restart bucketlog, and report it if it comes again"
        )
        log_.critical("%s stopped: %s%s", task.get_name(), error, advice, exc_info=error)
