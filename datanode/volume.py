"""One append-only volume file: regions are handed out from its end and found by scan after a crash.

Rule: a region's header is written when the region is handed out, before any later one. So whenever a later record is
synced (`sync` covers the whole file), the headers before it are too, and a scan can step over records that are not whole.
"""

import asyncio
from collections.abc import Iterator

from datanode import layout
from topics.disk import File


class Volume:
    def __init__(self, number: int, file: File, end: int) -> None:
        self.number = number
        self.end = end
        self.garbage_bytes = 0
        self._file = file
        self._open_regions: set[int] = set()
        self._syncing: asyncio.Task[None] | None = None
        self._written = 1  # counts writes, so that a sync knows what it covers; a former process may have left some
        self._synced = 0

    def append(self, records: bytes) -> int:
        """Whole records at once; returns the offset of the first."""
        at, self.end = self.end, self.end + len(records)
        self._write(records, at)
        return at

    def reserve(self, blob: bytes, length: int, group: int = 0, partition: int = 255) -> int:
        """A region for a payload that is still arriving; `finish` or `abandon` ends it."""
        at, self.end = self.end, self.end + layout.record_bytes(length)
        self._write(layout.header(blob, length, group, partition), at)
        self._open_regions.add(at)
        return at

    def write_payload(self, data: bytes | memoryview, region: int, position: int) -> None:
        """May run in a thread; `finish`, which counts, comes behind it."""
        self._file.write(data, region + layout.HEADER_BYTES + position)

    async def finish(self, region: int, length: int, footer: bytes) -> None:
        """Durable on return."""
        self._write(footer, region + layout.HEADER_BYTES + length)
        await self.sync()
        self._open_regions.discard(region)

    def abandon(self, region: int, length: int) -> None:
        self.release(region, length)
        self._open_regions.discard(region)

    def release(self, region: int, length: int) -> None:
        """Mark the record and give its blocks back to the file system."""
        self._write(bytes([layout.RELEASED]), region + layout.STATE_AT)
        if length >= layout.BLOCK_BYTES // 8:  # smaller ones hold hardly a whole block; compaction gets them
            self._file.punch(region + layout.HEADER_BYTES, length)
        else:
            self.garbage_bytes += layout.record_bytes(length)

    def read(self, blob: bytes, region: int, length: int, start: int, size: int) -> bytes:
        """`size` bytes of the payload from `start`, verified. Raises `BlobCorrupt`."""
        first = start // layout.BLOCK_BYTES
        last = layout.blocks(start + size)
        from_, to = first * layout.BLOCK_BYTES, min(last * layout.BLOCK_BYTES, length)
        payload_at = region + layout.HEADER_BYTES
        if length <= layout.BLOCK_BYTES:
            both = self._file.read(length + layout.footer_bytes(length), payload_at)
            data, foot = both[:length], both[length:]
        else:
            data = self._file.read(to - from_, payload_at + from_)
            foot = self._file.read(layout.footer_bytes(length), payload_at + length)
        crcs = layout.parse_footer(blob, foot)
        if len(data) != to - from_ or layout.block_crcs(memoryview(data)) != crcs[first:last]:
            raise layout.BlobCorrupt(f"blob {blob.hex()} in volume {self.number} is damaged")
        return data if len(data) == size else data[start - from_ : start - from_ + size]

    async def sync(self) -> None:
        """All writes before the call are durable on return; calls share syncs."""
        wanted = self._written
        while self._synced < wanted:
            if self._syncing is None or self._syncing.done():
                self._syncing = asyncio.create_task(self._sync())
            await asyncio.shield(self._syncing)

    @property
    def settled_below(self) -> int:
        """Below this offset every record is finished or abandoned."""
        return min(self._open_regions, default=self.end)

    def scan(self, start: int) -> Iterator[tuple[int, int, bytes, int, int, int]]:
        """(state, offset, blob, length) of the records from `start`, with the payload of live ones verified.

        A record that is not whole is released on the way; `end` is set to where the records stop, and the file cut there.
        """
        at = start
        while (found := layout.parse_header(self._file.read(layout.HEADER_BYTES, at))) is not None:
            state, blob, length, group, partition = found
            if state == layout.LIVE and not self._is_whole(blob, at, length):
                self.release(at, length)
                state = layout.RELEASED
            yield state, at, blob, length, group, partition
            at += layout.record_bytes(length)
        self.end = at
        if self._file.size() > at:
            self._file.truncate(at)

    def close(self) -> None:
        self._file.close()

    def _is_whole(self, blob: bytes, region: int, length: int) -> bool:
        try:
            for start in range(0, max(length, 1), 16 * layout.BLOCK_BYTES):
                self.read(blob, region, length, start, min(16 * layout.BLOCK_BYTES, length - start))
        except layout.BlobCorrupt:
            return False
        return True

    def _write(self, data: bytes | memoryview, at: int) -> None:
        self._file.write(data, at)
        self._written += 1

    async def _sync(self) -> None:
        covered = self._written
        await self._file.sync()
        self._synced = max(self._synced, covered)
