"""One append-only volume file: regions are handed out from its end and found by scan after a crash.

Rule: a region's header is written when the region is handed out, before any later one. So whenever a later record is
synced (`sync` covers the whole file), the headers before it are too, and a scan can step over records that are not whole.
Where a header is damaged all the same, the scan looks for the next one. What the disk cannot read is damage of the record
that it belongs to, and no more.

What runs in a thread holds the file (`held`): a volume that is retired meanwhile is closed when the last one lets go.
"""

import asyncio
import errno
import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from datanode import layout
from datanode.index import Synced
from topics.disk import File

PUNCH_BYTES_MIN = 8 << 10  # a smaller payload holds hardly a whole block; compaction gets it
SEARCH_BYTES = 1 << 20
SYNC_S_MAX = 30.0  # a busy hard disk may need some seconds
SECTOR_BYTES = 4096  # what a disk fails to read at a time, and a file system gives back
PIECE_BYTES = 16 * layout.BLOCK_BYTES  # of a payload that is read through
log_ = logging.getLogger(__name__)


class VolumeRetired(Exception):
    """The volume was compacted away; what was in it is elsewhere."""


class Found(NamedTuple):
    offset: int
    header: layout.Header


class Volume:
    def __init__(self, number: int, file: File, end: int) -> None:
        self.number = number
        self.end = end
        self.noted = Synced(-1, -1)  # that the index has
        self.noted_hole_bytes = -1
        self.hole_bytes = 0  # whole blocks that were given back to the file system
        self._file = file
        self._open_regions: dict[int, int] = {}  # offset: bytes
        self._closed_end = end  # of the last record that does not still arrive
        self._syncing: asyncio.Task[None] | None = None
        self._written = 1  # counts writes, so that a sync knows what it covers; a former process may have left some
        self._synced = 0
        self.has_failed = (
            False  # to sync: what it held unsynced may be lost, though a later sync would say that all is well
        )
        self.is_hung = False  # a sync of it does not end
        self._unsynced: dict[int, int] = {}  # group → the count of its last write of whole records
        self.read_errors = 0
        self._has_skipped = False  # the last search for a record met what cannot be read
        self._holds = 0
        self._is_retired = False
        self._lock = threading.Lock()

    def append(self, records: bytes, groups: Iterable[int]) -> int:
        """Whole records of these groups at once; returns the offset of the first."""
        at = self.append_open(records)
        self.close_region(at)
        self.note_unsynced(groups)
        return at

    def append_open(self, records: bytes) -> int:
        """As `append`, but not settled before `close_region`: the index does not know of them yet."""
        at = self.end
        self._write(records, at)
        self.end = at + len(records)
        self._open_regions[at] = len(records)
        return at

    def reserve(self, header: bytes, length: int) -> int:
        """A region for a payload that is still arriving; `finish` or `abandon` ends it."""
        at, size = self.end, layout.record_bytes(length)
        self._write(header, at)
        self.end = at + size
        self._open_regions[at] = size
        return at

    def write_payload(self, data: bytes | bytearray | memoryview, region: int, position: int) -> None:
        """With the footer behind its end. May run in a thread; `finish`, which counts, comes behind it."""
        self._file.write(data, region + layout.HEADER_BYTES + position)

    async def finish(self, region: int) -> None:
        """Durable on return. The region is closed: the index must learn of it before anything else happens."""
        self._written += 1
        await self.sync()
        self.close_region(region)

    def abandon(self, region: int, blob: bytes, length: int) -> None:
        """Nothing is read: the record there is what was reserved."""
        try:
            self.count_mark(self._mark(region, blob, length))
            self._write(b"\0", region + layout.record_bytes(length) - 1)  # so that the file is as long as it is settled
        finally:
            self.close_region(region)

    def close_region(self, region: int) -> None:
        size = self._open_regions.pop(region, 0)
        self._closed_end = max(self._closed_end, region + size)

    def release(self, region: int, blob: bytes, length: int, *, is_cached: bool = False) -> None:
        """Mark the record and give its blocks back to the file system. Where the disk does not take that, the record comes
        back only if the index is lost, as a blob that nobody refers to.

        Nothing is touched where that record is not: an index that is ahead of the volume may name bytes of others.
        With `is_cached`, raises `BlockingIOError` where the disk would have to be read.
        """
        if is_cached:
            with suppress(layout.BlobUnreadable):  # to write a hole's end its block is read, as at its begin
                self._bytes(1, region + layout.record_bytes(length) - 1, is_cached=True)
        self.count_mark(self.mark(region, blob, length, is_cached=is_cached))

    def mark(self, region: int, blob: bytes, length: int, *, is_cached: bool = False) -> int | None:
        """The same uncounted, as in a thread: bytes that were given back, for `count_mark`; None where nothing was done."""
        header = self.header(region, is_cached=is_cached)
        if header is None or (header.blob, header.length) != (blob, length):
            return None
        return self._mark(region, blob, length)

    def _mark(self, region: int, blob: bytes, length: int) -> int:
        try:
            self._file.write(bytes([layout.RELEASED]), region + layout.STATE_AT)
            if length < PUNCH_BYTES_MIN:
                return 0
            self._file.punch(region + layout.HEADER_BYTES, length)
        except OSError as error:
            log_.warning("blob %s in volume %d cannot be marked as released: %s", blob.hex(), self.number, error)
            return 0
        return _whole_blocks(region + layout.HEADER_BYTES, length)

    def count_mark(self, hole_bytes: int | None) -> None:
        if hole_bytes is not None:
            self._written += 1
            self.hole_bytes += hole_bytes

    def header(self, at: int, *, is_cached: bool = False) -> layout.Header | None:
        """None where no whole header is, or none that can be read."""
        try:
            return layout.parse_header(self._bytes(layout.HEADER_BYTES, at, is_cached=is_cached))
        except layout.BlobUnreadable:
            self._has_skipped = True
            return None

    def read(
        self,
        blob: bytes,
        region: int,
        length: int,
        start: int,
        size: int,
        crc32c: int | None = None,
        *,
        is_cached: bool = False,
    ) -> bytes:
        """`size` bytes of the payload from `start`, verified; of one with this crc32c, where it is given.

        Raises `BlobCorrupt`; with `is_cached` also `BlockingIOError`, where the disk would have to be read.
        """
        first = start // layout.BLOCK_BYTES
        last = layout.blocks(start + size)
        from_, to = first * layout.BLOCK_BYTES, min(last * layout.BLOCK_BYTES, length)
        payload_at = region + layout.HEADER_BYTES
        if length <= layout.BLOCK_BYTES:
            both = self._bytes(length + layout.footer_bytes(length), payload_at, is_cached=is_cached)
            data, foot = both[:length], both[length:]
        else:
            data = self._bytes(to - from_, payload_at + from_, is_cached=is_cached)
            foot = self._bytes(layout.footer_bytes(length), payload_at + length, is_cached=is_cached)
        crcs = layout.parse_footer(blob, foot)
        if len(data) != to - from_ or layout.block_crcs(memoryview(data)) != crcs[first:last]:
            raise layout.BlobCorrupt(f"blob {blob.hex()} in volume {self.number} is damaged")
        if crc32c is not None and crc32c != (crcs[0] if len(crcs) == 1 else layout.payload_crc32c(blob, foot, length)):
            raise layout.BlobCorrupt(f"blob {blob.hex()} in volume {self.number} has other bytes than it is known by")
        return data if len(data) == size else data[start - from_ : start - from_ + size]

    def crc32c(self, blob: bytes, region: int, length: int, *, is_cached: bool = False) -> int:
        """Of a whole payload, by the checksums of its blocks. Raises `BlobCorrupt`; with `is_cached` also
        `BlockingIOError`."""
        at, size = region + layout.HEADER_BYTES + length, layout.footer_bytes(length)
        return layout.payload_crc32c(blob, self._bytes(size, at, is_cached=is_cached), length)

    def has_whole(self, blob: bytes, region: int, length: int, *, is_cached: bool = False) -> bool:
        """Payload and footer; what they are of is known from elsewhere. With `is_cached` raises `BlockingIOError`,
        where the disk would have to be read."""
        try:
            self.check(blob, region, length, is_cached=is_cached)
        except layout.BlobCorrupt:
            return False
        return True

    def check(self, blob: bytes, region: int, length: int, *, is_cached: bool = False) -> None:
        """The same. Raises `BlobCorrupt`: `BlobUnreadable` where it may be whole, and the disk does not give it."""
        for start in range(0, max(length, 1), PIECE_BYTES):
            self.read(blob, region, length, start, min(PIECE_BYTES, length - start), is_cached=is_cached)

    def has_live(self, blob: bytes, region: int, length: int) -> bool:
        """A whole record, its header too, that is not released."""
        header = self.header(region)
        if header is None or header.is_released or (header.blob, header.length) != (blob, length):
            return False
        return self.has_whole(blob, region, length)

    async def sync(self) -> None:
        """All writes before the call are durable on return; calls share syncs. Raises `OSError` ever after a failed one, or
        `TimeoutError` (an `OSError`) for one that does not end."""
        wanted = self._written
        while self._synced < wanted:
            if self.has_failed:
                raise OSError(errno.EIO, f"volume {self.number} could not be synced once, and is copied to another")
            if self._syncing is None or self._syncing.done():
                self._syncing = asyncio.create_task(self._sync())
                self._syncing.add_done_callback(_heard)
            async with asyncio.timeout(SYNC_S_MAX):
                await asyncio.shield(self._syncing)

    @property
    def is_synced(self) -> bool:
        return self._synced >= self._written and not self.has_failed

    @property
    def doubtful(self) -> set[int]:
        """Groups with records here that no sync is known to cover."""
        return set(self._unsynced)

    def note_unsynced(self, groups: Iterable[int]) -> None:
        """Whole records of these were written, or found by a start."""
        self._unsynced |= dict.fromkeys(groups, self._written)

    def only_doubtful(self, groups: Iterable[int]) -> None:
        """All records but those of these groups have gone elsewhere."""
        self._unsynced = {group: count for group, count in self._unsynced.items() if group in set(groups)}

    def sync_now(self) -> None:
        """The same without a loop, at start."""
        self._file.truncate(self._file.size())

    @property
    def settled(self) -> Synced:
        """Below the first offset every record is finished or abandoned; behind the second none is."""
        return Synced(min(self._open_regions, default=self.end), self._closed_end)

    @property
    def open_bytes(self) -> int:
        return sum(self._open_regions.values())

    def size(self) -> int:
        return self._file.size()

    def count_holes(self, known: int | None) -> None:
        """At start: by the index, else by what the file takes from the disk, which may be more than is in it."""
        self.hole_bytes = max(0, self._file.size() - self._file.allocated_bytes()) if known is None else known

    def extend(self, size: int) -> None:
        """Bytes that were lost at the file's end stay lost, and their offsets used. Where the length cannot be set, nothing
        more is written to the volume."""
        try:
            self._file.truncate(size)
        except OSError as error:
            log_.error("volume %d is not written any more: %s", self.number, error)
            self.has_failed = True

    def scan(self, start: int) -> Iterator[Found]:
        """The records from `start`; where a header is damaged, from the next one that is not.

        `end` is set behind the last one, and the file ends there, too: only what is above `start` is ever cut, and nothing
        that cannot be read.
        """
        self.end = start
        while (found := self.next_record(self.end)) is not None:
            self.end = found.offset + layout.record_bytes(found.header.length)
            yield found
        if self._has_skipped:
            self.end = max(self.end, self._file.size())
        self._closed_end = self.end
        if self._file.size() != self.end:
            self.extend(self.end)

    def next_record(self, at: int) -> Found | None:
        """The first with a whole header at `at` or after it.

        Behind a damaged header, what looks like a record may be in a payload: a blob that nobody refers to comes of it.
        """
        self._has_skipped = False
        if (header := self.header(at)) is not None:
            return Found(at, header)
        for start in range(at, self._file.size(), SEARCH_BYTES):
            piece = self._readable(SEARCH_BYTES + layout.HEADER_BYTES - 1, start)
            place = piece.find(layout.MAGIC_PREFIX)
            while place >= 0:
                if (header := layout.parse_header(piece[place : place + layout.HEADER_BYTES])) is not None:
                    return Found(start + place, header)
                place = piece.find(layout.MAGIC_PREFIX, place + 1)
        return None

    @contextmanager
    def held(self) -> Iterator[None]:
        """The file stays open until the end of this. Raises `VolumeRetired`."""
        with self._lock:
            if self._is_retired:
                raise VolumeRetired
            self._holds += 1
        try:
            yield
        finally:
            with self._lock:
                self._holds -= 1
                is_last = self._is_retired and not self._holds
            if is_last:
                self._file.close()

    def close(self) -> None:
        """Now, or when the last one lets go."""
        with self._lock:
            self._is_retired = True
            is_unused = not self._holds
        if is_unused:
            self._file.close()

    def _hangs(self) -> None:
        self.is_hung = True

    def _bytes(self, size: int, at: int, *, is_cached: bool = False) -> bytes:
        """Raises `BlobUnreadable`."""
        try:
            return self._file.read_cached(size, at) if is_cached else self._file.read(size, at)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno == errno.EBADF:  # closed: no fault of the disk
                raise
            self.read_errors += 1
            raise layout.BlobUnreadable(f"volume {self.number} cannot be read at {at}: {error}") from error

    def _readable(self, size: int, at: int) -> bytes:
        """Zeros in the place of what cannot be read."""
        try:
            return self._bytes(size, at)
        except layout.BlobUnreadable:
            self._has_skipped = True
        pieces, end = [], min(at + size, self._file.size())
        while at < end:
            length = min(SECTOR_BYTES - at % SECTOR_BYTES, end - at)
            try:
                pieces.append(self._bytes(length, at))
            except layout.BlobUnreadable:
                pieces.append(bytes(length))
            at += length
        return b"".join(pieces)

    def _write(self, data: bytes | memoryview, at: int) -> None:
        self._file.write(data, at)
        self._written += 1

    async def _sync(self) -> None:
        covered = self._written
        hanging = asyncio.get_running_loop().call_later(SYNC_S_MAX, self._hangs)
        try:
            with self.held():
                await self._file.sync()
        except OSError:
            self.has_failed = True
            raise
        finally:
            hanging.cancel()
            self.is_hung = False
        self._synced = max(self._synced, covered)
        self._unsynced = {group: count for group, count in self._unsynced.items() if count > covered}


def _whole_blocks(at: int, size: int) -> int:
    """Bytes of those in a range."""
    return max(0, (at + size) // SECTOR_BYTES - -(-at // SECTOR_BYTES)) * SECTOR_BYTES


def _heard(syncing: "asyncio.Task[None]") -> None:
    """Who waited for it may be gone."""
    if not syncing.cancelled():
        syncing.exception()
