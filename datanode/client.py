"""What gateways ask of the data plane: small payloads ride the log, large ones are streamed to the node that leads a group,
and reads go to whoever has the blob; nodes that are slow or gone are gone around.

Durability: `put` is durable with the next durable append (of its object's event), an extent when `commit` returned; on a
log without such a promise, both when they return.
Errors: those of `datanode.node`, `NoNode`, and `LogError` for a log that cannot be written.
"""

import random
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from awscrt.checksums import crc32c

from datanode.cache import BlobCache
from datanode.extent import ExtentWriter
from datanode.hedge import first_answer
from datanode.node import BlobRef, Nodes
from datanode.placement import PlacementMap
from datanode.routing import Routes
from topics import writes
from topics.log import Entry, Log
from topics.objects import Extent
from topics.spec import TopicPartition


def new_blob() -> bytes:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then random."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return value.to_bytes(16, "big")


class Blobs:
    def __init__(
        self,
        log: Log,
        known: PlacementMap,
        nodes: Nodes,
        *,
        durable: bool,
        rng: random.Random | None = None,
        new_blob: Callable[[], bytes] = new_blob,
        cache_bytes: int = 0,
    ) -> None:
        """`durable=False` where the event's append syncs what is appended here: the embedded log. `cache_bytes`: of small
        payloads that were read lately."""
        self._log = log
        self._routes = Routes(known, nodes, rng or random.Random())  # noqa: S311 - spreads blobs over groups
        self._new_blob = new_blob
        self._durable = durable
        self.cache = BlobCache(cache_bytes)

    async def put(self, data: bytes, partition: int) -> Extent:
        """A small payload, for metadata that lives in `partition`."""
        blob, group = self._new_blob(), self._routes.group_for_small()
        entry = Entry(blob, writes.payload(partition, data))
        (position,) = await self._log.append(TopicPartition("writes", group), [entry], durable=self._durable)
        return Extent(blob.hex(), group, len(data), crc32c(data), position)

    async def create(self, length: int, partition: int) -> ExtentWriter:
        """A large payload that is about to arrive."""
        writer = ExtentWriter(self._log, self._routes, self._new_blob, length, partition, durable=self._durable)
        await writer.begin()
        return writer

    async def read(self, extent: Extent, start: int, size: int) -> bytes:
        """Verified bytes. Raises `BlobUnavailable` where every node said that it has none, or `OSError`."""
        if (known := self.cache.get(extent.blob)) is not None:
            return known[start : start + size]
        data = await self._read(extent, start, size)
        if size == extent.length:
            self.cache.put(extent.blob, data)
        return data

    async def _read(self, extent: Extent, start: int, size: int) -> bytes:
        ref = BlobRef(extent.group, bytes.fromhex(extent.blob), writes.UNKNOWN_PARTITION, extent.crc32c)
        names = self._routes.readers(ref)
        if len(names) == 1:
            return await self._routes.node(names[0]).read(ref, start, size, extent.position)
        return await first_answer(self._routes, names, ref, start, size, extent.position)

    async def release(self, extents: Sequence[Extent]) -> None:
        """Give back blobs that nothing refers to."""
        by_group: dict[int, list[Entry]] = defaultdict(list)
        for extent in extents:
            by_group[extent.group].append(Entry(bytes.fromhex(extent.blob), writes.RELEASE))
        for group, entries in by_group.items():
            await self._log.append(TopicPartition("writes", group), entries, durable=False)
