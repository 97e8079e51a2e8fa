"""Records that are written in pieces: the bytes and checksums of one region of a volume."""

from functools import partial

from datanode import layout
from datanode.volume import Volume
from topics.disk import Disk

FLUSH_BYTES = 512 << 10  # a hand-over to a thread costs more than writing less


class RecordWriter:
    """A record of a known length; `commit` or `abort` ends it."""

    def __init__(self, disk: Disk, volume: Volume, group: int, blob: bytes, partition: int, length: int) -> None:
        self._disk = disk
        self._volume = volume
        self._blob = blob
        self._length = length
        self._region = volume.reserve(layout.header(group, blob, partition, length), length)
        self._pending = bytearray()
        self._crcs: list[int] = []
        self._position = 0
        self.crc32c = 0  # of all bytes, once `commit` returned

    async def write(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) >= FLUSH_BYTES:
            await self._flush(len(self._pending) // layout.BLOCK_BYTES * layout.BLOCK_BYTES)

    async def commit(self) -> int:
        """Its offset, durable; the index must learn of it before anything else happens.

        Raises `ValueError` where the length is not what was announced.
        """
        arrived = self._position + len(self._pending)
        if arrived < self._length:
            raise ValueError(f"{arrived} bytes of {self._length} arrived")
        await self._flush(len(self._pending), is_last=True)
        self.crc32c = layout.combined_crc32c(self._crcs, self._length)
        await self._volume.finish(self._region)
        return self._region

    def abort(self) -> None:
        """Give the space back."""
        self._volume.abandon(self._region, self._blob, self._length)

    async def _flush(self, size: int, *, is_last: bool = False) -> None:
        data, self._pending = self._pending, self._pending[size:]  # most is not copied
        del data[size:]
        if self._position + size > self._length:
            raise ValueError("more bytes than announced")
        position, self._position = self._position, self._position + size
        await self._disk.run(partial(self._write_out, data, position, is_last=is_last))

    def _write_out(self, data: bytearray, position: int, *, is_last: bool) -> None:
        self._crcs += layout.block_crcs(memoryview(data))
        if is_last:
            data += layout.footer(self._blob, self._crcs)
        with self._volume.held():
            self._volume.write_payload(data, self._region, position)
