"""What gateways ask of the data plane: small payloads ride the log, large ones are streamed to a data node.

Durability: `put` is durable with the next durable append (of its object's event); a writer's blob when `commit` returned.
Errors: those of `datanode.node`, and `LogError` for a log that cannot be written.
"""

from collections.abc import Sequence

from datanode.node import DataNode, Writer
from topics import writes
from topics.log import Entry, Log
from topics.objects import Extent
from topics.spec import TopicPartition

GROUP = 0  # the only replication group of one process


class Blobs:
    def __init__(self, log: Log, node: DataNode) -> None:
        self._log = log
        self._node = node
        self._at = TopicPartition("writes", GROUP)

    async def put(self, blob: str, data: bytes) -> int:
        """A small payload; returns its position in `writes`."""
        entry = Entry(bytes.fromhex(blob), writes.payload(data))
        return (await self._log.append(self._at, [entry], durable=False))[0]

    async def create(self, blob: str, length: int) -> Writer:
        return await self._node.create(bytes.fromhex(blob), length)

    async def read(self, extent: Extent, start: int, size: int) -> bytes:
        return await self._node.read(bytes.fromhex(extent.blob), start, size, extent.position)

    async def release(self, blobs: Sequence[str]) -> None:
        """Give back blobs that nothing refers to."""
        entries = [Entry(bytes.fromhex(blob), writes.RELEASE) for blob in blobs]
        await self._log.append(self._at, entries, durable=False)
