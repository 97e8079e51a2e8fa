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
        self._pending: list[bytes] = []  # less than a flush, or the last one
        self._pending_bytes = 0
        self._crcs: list[int] = []
        self._position = 0
        self.crc32c = 0  # of all bytes, once `commit` returned

    async def write(self, data: bytes) -> None:
        """Of large pieces, whole blocks are not copied."""
        self._pending.append(data)
        self._pending_bytes += len(data)
        arrived = self._position + self._pending_bytes
        if arrived > self._length:
            raise ValueError("more bytes than announced")
        if self._pending_bytes >= FLUSH_BYTES and arrived < self._length:  # the end goes with the checksums
            await self._flush()

    async def commit(self) -> int:
        """Its offset, durable; the index must learn of it before anything else happens.

        Raises `ValueError` where the length is not what was announced.
        """
        arrived = self._position + self._pending_bytes
        if arrived < self._length:
            raise ValueError(f"{arrived} bytes of {self._length} arrived")
        await self._flush(is_last=True)
        self.crc32c = layout.combined_crc32c(self._crcs, self._length)
        await self._volume.finish(self._region)
        return self._region

    def abort(self) -> None:
        """Give the space back."""
        self._volume.abandon(self._region, self._blob, self._length)

    async def _flush(self, *, is_last: bool = False) -> None:
        """Whole blocks, or all."""
        joined = b"".join(self._pending)  # of one that piece itself
        size = len(joined) if is_last else len(joined) // layout.BLOCK_BYTES * layout.BLOCK_BYTES
        rest = joined[size:]
        self._pending, self._pending_bytes = [rest] if rest else [], len(rest)
        position, self._position = self._position, self._position + size
        await self._disk.run(partial(self._write_out, memoryview(joined)[:size], position, is_last=is_last))

    def _write_out(self, data: memoryview, position: int, *, is_last: bool) -> None:
        self._crcs += layout.block_crcs(data)
        with self._volume.held():
            self._volume.write_payload(data, self._region, position)
            if is_last:
                footer = layout.footer(self._blob, self._crcs)
                self._volume.write_payload(footer, self._region, position + len(data))
