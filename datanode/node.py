"""The port of one data node: blobs written in a stream and read by range. In one process `LocalNode` calls the store;
`datanode.remote.RemoteNode` asks a node over HTTP.

Rules: nobody can read a blob before its writer's `commit` returned, and it is durable then; a writer ends with `commit` or
`abort`, exactly one. What `read` returns was verified.
Errors: `BlobUnavailable` for what is missing or damaged on the node, `OSError` for a node that cannot be reached or a disk
that cannot be written, `ValueError` for lengths that do not fit.
"""

from typing import Protocol

from datanode.consumer import WritesConsumer
from datanode.layout import UNKNOWN_PARTITION, BlobCorrupt
from datanode.store import BlobMissing, BlobWriter, VolumeStore


class BlobUnavailable(Exception):
    """The bytes of a blob cannot be had: missing or damaged here, and no replica to ask."""


class Writer(Protocol):
    @property
    def crc32c(self) -> int:
        """Of all bytes, once `commit` returned."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def commit(self) -> None: ...

    async def abort(self) -> None:
        """Give the space back; also after a failed `write` or `commit`."""
        ...


class DataNode(Protocol):
    async def create(self, blob: bytes, length: int) -> Writer:
        """A blob of `length` bytes that is about to arrive."""
        ...

    async def read(self, blob: bytes, start: int, size: int, position: int) -> bytes:
        """`size` bytes from `start`, once the node has consumed `writes` to `position` (-1: it need not wait)."""
        ...


class LocalNode:
    def __init__(self, store: VolumeStore, consumer: WritesConsumer) -> None:
        self._store = store
        self._consumer = consumer

    async def create(self, blob: bytes, length: int) -> BlobWriter:
        return self._store.create(0, blob, UNKNOWN_PARTITION, length)

    async def read(self, blob: bytes, start: int, size: int, position: int) -> bytes:
        if position >= 0:
            await self._consumer.reached(position)
        try:
            return await self._store.read(0, blob, start, size)
        except (BlobMissing, BlobCorrupt) as error:
            raise BlobUnavailable(str(error)) from error
