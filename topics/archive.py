"""Kept records (events) moved out of the journal: one folder a partition, files of frames.

Rules: only durable records come here, in order, each once (`next_offset` tells where to go on after a crash). A file's
name is where the one before ends, so that burned offsets leave no gap between the files. A file is read whole: it is at
most `FILE_BYTES` long and read only by those who go far back.
"""

import asyncio
import bisect
from collections.abc import Sequence

from topics.frame import pack, unpack
from topics.log import LogCorrupt, Record
from topics.log_disk import LogDisk, LogFile, whole

FILE_BYTES = 4 << 20  # ~6,000 events: what one reader far before the end holds in memory
WRITE_BYTES = 256 << 10  # at once, so that others run between: framing ~400 events takes ~1 ms


class Archive:
    def __init__(self, disk: LogDisk, folder: str, firsts: list[int]) -> None:
        self._disk = disk
        self._folder = folder
        self._firsts = firsts
        self._cache: tuple[int, list[Record]] | None = None
        self._file: LogFile | None = None
        self._end = 0
        self._files = asyncio.Lock()  # held by who opens, closes or removes one
        self.next_offset = firsts[0] if firsts else 0

    @classmethod
    async def open(cls, disk: LogDisk, folder: str) -> "Archive":
        archive = cls(disk, folder, [int(name.removesuffix(".log")) for name in await disk.names(folder)])
        if archive._firsts:
            await disk.sync_folder(folder)  # a killed process may not have got to it
            await archive._recover_last()
        return archive

    async def cut_torn_tail(self) -> None:
        """To be called before the first use. Whether the journal still has what is cut off is for the caller to know."""
        if self._file is not None:
            await self._file.truncate(self._end)  # syncs, too

    @property
    def earliest(self) -> int | None:
        return self._firsts[0] if self._firsts else None

    @property
    def last(self) -> str:
        """The path of the file that is written."""
        return self._path(self._firsts[-1]) if self._firsts else self._folder

    async def append(self, records: Sequence[Record]) -> None:
        """Append what lies at or above `next_offset`; durable on return. After an error some may be archived, and count."""
        place = bisect.bisect_left(records, self.next_offset, key=_offset)
        while place < len(records):
            if self._file is None or self._end >= FILE_BYTES:
                await self._roll()
            assert self._file is not None
            frames = _frames(records, place, min(WRITE_BYTES, FILE_BYTES - self._end))
            data = b"".join(frames)
            await self._file.write_synced(data, self._end)
            place += len(frames)
            self._end += len(data)
            self.next_offset = records[place - 1].offset + 1
            if self._cache is not None and self._cache[0] == self._firsts[-1]:
                self._cache = None

    async def read(self, offset: int, records_max: int) -> list[Record]:
        """Records from the first offset >= `offset` on, of one file; empty if none is archived."""
        if offset >= self.next_offset:
            return []
        records = await self._load(offset)
        start = bisect.bisect_left(records, offset, key=_offset)
        return records[start : start + records_max]

    async def trim(self, before: int) -> None:
        """Remove the files that lie wholly below `before`."""
        async with self._files:
            while len(self._firsts) > 1 and self._firsts[1] <= before:
                await self._disk.remove(self._path(self._firsts[0]))
                del self._firsts[0]

    @property
    def files(self) -> list[str]:
        """The paths of all."""
        return [self._path(first) for first in self._firsts]

    async def check(self, path: str) -> int:
        """Read all copies of a file, which are made the same; its size, 0 where it is gone.

        Raises `LogCorrupt`, `OSError` where none is whole.
        """
        async with self._files:
            found = [first for first in self._firsts if self._path(first) == path]
            if not found:
                return 0
            if found[0] == self._firsts[-1] and self._file is not None:
                await self._file.read_checked(self._end)
            records = await self._content(found[0])
            return sum(len(each.value) for each in records)

    async def close(self) -> None:
        async with self._files:
            if self._file is not None:
                await self._file.close()
                self._file = None

    def _first_of(self, offset: int) -> int:
        """The file where it is, or would be."""
        return self._firsts[max(0, bisect.bisect_right(self._firsts, offset) - 1)]

    async def _load(self, offset: int) -> list[Record]:
        cache = self._cache
        if cache is not None and cache[0] == self._first_of(offset):
            return cache[1]
        async with self._files:
            first = self._first_of(offset)
            if self._cache is not None and self._cache[0] == first:  # by who was before us
                return self._cache[1]
            end = self._end
            records = await self._content(first)
            if first != self._firsts[-1] or end == self._end:  # else more was written meanwhile
                self._cache = (first, records)
            return records

    async def _content(self, first: int) -> list[Record]:
        """Of a file. Raises `LogCorrupt`."""
        if first == self._firsts[-1] and self._file is not None:
            end = self._end  # more is being written
            records = _records(await self._file.read(end, 0))
            if records is None:
                records = _records(await self._file.read_checked(end))
        else:
            file = await self._disk.open(self._path(first))
            try:
                records = _records(await whole(file))
            finally:
                await file.close()
        if records is None:
            raise LogCorrupt(f"{self._path(first)} is damaged; restore the file from a copy")
        return records

    async def _roll(self) -> None:
        async with self._files:
            if self._file is not None:
                await self._file.close()
                self._file = None
            file = await self._disk.open(self._path(self.next_offset))
            try:
                await self._disk.sync_folder(self._folder)
            except OSError:
                await file.close()
                raise
            self._file, self._end = file, 0
            self._firsts.append(self.next_offset)

    async def _recover_last(self) -> None:
        self._file = await self._disk.open(self._path(self._firsts[-1]))
        self.next_offset = self._firsts[-1]
        for frame in unpack(await whole(self._file)):
            self._end, self.next_offset = frame.end, frame.record.offset + 1

    def _path(self, first: int) -> str:
        return f"{self._folder}/{first:020}.log"


def _records(data: bytes) -> list[Record] | None:
    """None where it is not all frames."""
    frames = list(unpack(data))
    return [frame.record for frame in frames] if (frames[-1].end if frames else 0) == len(data) else None


def _frames(records: Sequence[Record], start: int, size: int) -> list[bytes]:
    """From `start` on, until they come to that size, or all."""
    frames: list[bytes] = []
    for place in range(start, len(records)):
        frames.append(pack(0, 0, records[place]))
        size -= len(frames[-1])
        if size <= 0:
            break
    return frames


def _offset(record: Record) -> int:
    return record.offset
