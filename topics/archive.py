"""Kept records (events) moved out of the journal: one folder a partition, files of frames.

Rules: only durable records come here, in order, each once (`next_offset` tells where to go on after a crash). A file's
name is where the one before ends, so that burned offsets leave no gap between the files. A file is read whole: it is at
most `FILE_BYTES` long and read only by those who go far back.
"""

import bisect
from collections.abc import Sequence

from topics.disk import Disk, File
from topics.frame import pack, unpack
from topics.log import LogCorrupt, Record

FILE_BYTES = 4 << 20  # ~6,000 events: what one reader far before the end holds in memory
WRITE_BYTES = 256 << 10  # at once, so that others run between: framing ~400 events takes ~1 ms


class Archive:
    def __init__(self, disk: Disk, folder: str) -> None:
        self._disk = disk
        self._folder = folder
        self._firsts = [int(name.removesuffix(".log")) for name in disk.names(folder)]
        self._cache: tuple[int, list[Record]] | None = None
        self._file: File | None = None
        self._end = 0
        self.next_offset = self._firsts[0] if self._firsts else 0
        if self._firsts:
            disk.sync_folder(folder)  # a killed process may not have got to it
            self._recover_last()

    def cut_torn_tail(self) -> None:
        """To be called before the first use. Whether the journal still has what is cut off is for the caller to know."""
        if self._file is not None:
            self._file.truncate(self._end)  # syncs, too

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
                self._roll()
            assert self._file is not None
            frames = _frames(records, place, min(WRITE_BYTES, FILE_BYTES - self._end))
            data = b"".join(frames)
            await self._file.write_synced(data, self._end)
            place += len(frames)
            self._end += len(data)
            self.next_offset = records[place - 1].offset + 1
            if self._cache is not None and self._cache[0] == self._firsts[-1]:
                self._cache = None

    def read(self, offset: int, records_max: int) -> list[Record]:
        """Records from the first offset >= `offset` on, of one file; empty if none is archived."""
        if offset >= self.next_offset:
            return []
        records = self._load(max(0, bisect.bisect_right(self._firsts, offset) - 1))
        start = bisect.bisect_left(records, offset, key=_offset)
        return records[start : start + records_max]

    def trim(self, before: int) -> None:
        """Remove the files that lie wholly below `before`."""
        while len(self._firsts) > 1 and self._firsts[1] <= before:
            self._disk.remove(self._path(self._firsts.pop(0)))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _load(self, place: int) -> list[Record]:
        first = self._firsts[place]
        if self._cache is None or self._cache[0] != first:
            file = self._disk.open(self._path(first))
            data = file.read(self._end if place == len(self._firsts) - 1 else file.size(), 0)  # more is being written
            file.close()
            frames = list(unpack(data))
            if (frames[-1].end if frames else 0) < len(data):
                raise LogCorrupt(f"{self._path(first)} is damaged; restore the file from a copy")
            self._cache = (first, [frame.record for frame in frames])
        return self._cache[1]

    def _roll(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        file = self._disk.open(self._path(self.next_offset))
        try:
            self._disk.sync_folder(self._folder)
        except OSError:
            file.close()
            raise
        self._file, self._end = file, 0
        self._firsts.append(self.next_offset)

    def _recover_last(self) -> None:
        self._file = self._disk.open(self._path(self._firsts[-1]))
        data = self._file.read(self._file.size(), 0)
        self.next_offset = self._firsts[-1]
        for frame in unpack(data):
            self._end, self.next_offset = frame.end, frame.record.offset + 1

    def _path(self, first: int) -> str:
        return f"{self._folder}/{first:020}.log"


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
