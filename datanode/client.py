"""What gateways ask of the data plane. In one process `LocalBlobs` calls the store directly.

Durability: `put` rides the log and is durable with the next durable append (of its object's event); a `Writer`'s blob is
durable when `commit` returned. Errors: `BlobUnavailable` for what cannot be had, `LogError` for a log that cannot be
written, `OSError` for a disk that cannot.
"""

from collections.abc import Sequence
from typing import Protocol

from datanode.consumer import WritesConsumer
from datanode.layout import BlobCorrupt
from datanode.store import BlobMissing, VolumeStore
from topics import writes
from topics.log import Entry, Log
from topics.objects import Extent
from topics.spec import TopicPartition

GROUP = 0  # the only replication group of one process


class BlobUnavailable(Exception):
    """The bytes of a blob cannot be had: missing or damaged here, and no replica to ask."""


class Writer(Protocol):
    @property
    def crc32c(self) -> int:
        """Of the bytes so far; complete when `commit` returned."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def commit(self) -> None: ...

    def abort(self) -> None: ...


class Blobs(Protocol):
    async def put(self, blob: str, data: bytes) -> int:
        """A small payload; returns its position in `writes`."""
        ...

    def create(self, blob: str, length: int) -> Writer: ...

    async def read(self, extent: Extent, start: int, size: int) -> bytes: ...

    async def release(self, blobs: Sequence[str]) -> None:
        """Give back blobs that nothing refers to."""
        ...


class LocalBlobs:
    def __init__(self, log: Log, store: VolumeStore, consumer: WritesConsumer) -> None:
        self._log = log
        self._store = store
        self._consumer = consumer
        self._at = TopicPartition("writes", GROUP)

    async def put(self, blob: str, data: bytes) -> int:
        entry = Entry(bytes.fromhex(blob), writes.payload(data))
        return (await self._log.append(self._at, [entry], durable=False))[0]

    def create(self, blob: str, length: int) -> Writer:
        return self._store.create(bytes.fromhex(blob), length)

    async def read(self, extent: Extent, start: int, size: int) -> bytes:
        if extent.position >= 0:
            await self._consumer.reached(extent.position)
        try:
            return await self._store.read(bytes.fromhex(extent.blob), start, size)
        except (BlobMissing, BlobCorrupt) as error:
            raise BlobUnavailable(str(error)) from error

    async def release(self, blobs: Sequence[str]) -> None:
        entries = [Entry(bytes.fromhex(blob), writes.RELEASE) for blob in blobs]
        await self._log.append(self._at, entries, durable=False)
