"""The write-ahead journal: one sequence of segment files for all topics, so that one sync serves a batch.

Assumptions: one writer. A segment is filled with zeros before its first use, because a synced write into allocated blocks
needs no commit of the file system's own journal (measured: 0.10 ms against 0.21 ms when the file grows). The next one is
prepared beside the writes once the active one is half full; a start removes one that was not begun.
Each segment starts with a checkpoint (JSON): the next and the earliest offset of every partition, so that a segment can go
without the offsets being forgotten. A later one counts all that lies before it.
Each batch begins with a mark. A batch is written when the one before is durable: so a bad frame with a mark behind it was
whole once, and is damage; without one it may be what a power cut broke off.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator

import msgspec

from topics.frame import MARK_TOPIC, Frame, first_end, has_mark, is_end, mark, pack, unpack
from topics.log import LogCorrupt, Record
from topics.log_disk import LogDisk, LogFile, whole

SEGMENT_BYTES = 64 << 20  # ~10 s of small PUTs at full speed; what a start has to read again
CHECKPOINT_TOPIC = 0xFFFF
_FOLDER = "journal"
FILL_BYTES = 4 << 20  # of zeros in one synced write
FRAMES_AT_ONCE = 1_000  # that a start takes before others run
log_ = logging.getLogger(__name__)


class Checkpoint(msgspec.Struct):
    """State of each partition ("topic/number"): when a segment began; again when the archives have what it sealed, and when
    offsets were burned."""

    next_offsets: dict[str, int] = {}
    earliest: dict[str, int] = {}
    archived: dict[str, int] = {}  # below which each kept partition was in its archive
    nonce: int = 0  # of the segment's marks; 0: it has none


class Segment:
    def __init__(self, number: int, file: LogFile, nonce: int, end: int = 0) -> None:
        self.number = number
        self.file = file
        self.nonce = nonce
        self.end = end  # where the next frame goes
        self._torn_below = 0  # what a write that failed may have left lies below

    async def write(self, data: bytes) -> None:
        """Append, durable on return. What a write that failed has left is wiped first: it must never look like frames."""
        await self.wipe()
        try:
            await self.file.write_synced(data, self.end)
        except OSError:
            self._torn_below = self.end + len(data)
            raise
        self.end += len(data)

    async def wipe(self) -> None:
        if self._torn_below > self.end:
            await self.file.write_synced(bytes(self._torn_below - self.end), self.end)
            self._torn_below = 0


class Journal:
    def __init__(self, disk: LogDisk, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._disk = disk
        self._segment_bytes = segment_bytes
        self.sealed: list[int] = []
        self.active: Segment | None = None
        self._next: Segment | None = None  # filled, without a head
        self._filling: asyncio.Task[None] | None = None
        self._is_closing = False
        self._files = asyncio.Lock()  # held by who opens a sealed one, or removes it

    async def recover(self) -> AsyncIterator[Frame]:
        """All frames in order, checkpoints included; cuts the torn tail of the last segment.

        Raises `LogCorrupt` for a bad frame in an earlier segment, which was whole when the next began, or before a mark.
        """
        numbers = [int(name.removesuffix(".log")) for name in await self._disk.names(_FOLDER)]
        if numbers:
            await self._disk.sync_folder(_FOLDER)  # a killed process may not have got to it
        await self._remove_unbegun(numbers)
        for number in numbers:
            file = await self._disk.open(_path(number))
            data = await whole(file)
            end = nonce = 0
            for place, frame in enumerate(unpack(data)):
                end = frame.end
                if place % FRAMES_AT_ONCE == 0:
                    await asyncio.sleep(0)
                if frame.topic == CHECKPOINT_TOPIC:
                    nonce = msgspec.json.decode(frame.record.value, type=Checkpoint).nonce
                if frame.topic != MARK_TOPIC:
                    yield frame
            if number != numbers[-1]:
                if not is_end(data, end):
                    raise _damaged(number, end)
                await file.close()
                self.sealed.append(number)
            else:
                is_torn = any(data[end:])
                if is_torn and nonce and has_mark(data, end, nonce):
                    raise _damaged(number, end)
                self.active = Segment(number, file, nonce, end)
                # syncs too: what a killed process left unsynced is about to be shown to readers
                size = end if is_torn else len(data)
                await file.truncate(size)
                # zeros behind the cut: stale bytes must never look like frames
                await _fill(file, size, self._segment_bytes)

    async def _remove_unbegun(self, numbers: list[int]) -> None:
        """Segments at the end that have no whole head: they were prepared, and nothing was written to them."""
        while numbers:
            file = await self._disk.open(_path(numbers[-1]))
            data = await whole(file)
            await file.close()
            if _is_begun(numbers[-1], data):
                return
            await self._disk.remove(_path(numbers.pop()))

    def is_full(self, adding: int) -> bool:
        return self.active is None or self.active.end + adding > self._segment_bytes

    async def roll(self, checkpoint: Checkpoint) -> None:
        """Start a new segment, durable with its checkpoint; the one before is sealed. After an error roll again."""
        if self.active is not None:
            await self.active.wipe()
            await self.active.file.close()
            self.sealed.append(self.active.number)
            self.active = None
        if self._filling is not None:
            await self._filling
            self._filling = None
        if self._next is None:
            self._next = await self._filled()
        await self._next.write(_head(checkpoint, self._next.nonce))
        self.active, self._next = self._next, None

    async def write(self, data: bytes, checkpoint: Checkpoint | None = None) -> None:
        """Append frames to the active segment, the checkpoint behind them, durable on return. After an error none of them
        counts."""
        assert self.active is not None
        if checkpoint is not None:
            data += _head(checkpoint, self.active.nonce)
        if self.active.nonce:
            data = mark(self.active.end, self.active.nonce) + data
        await self.active.write(data)
        if self._filling is None and self.active.end > self._segment_bytes // 2:
            self._filling = asyncio.create_task(self._fill_beside())

    async def _fill_beside(self) -> None:
        try:
            self._next = await self._filled()
        except OSError as error:
            log_.warning("the journal's next segment is prepared only when it is needed: %s", error)

    async def _filled(self) -> Segment:
        """The next segment, its name and its blocks durable. In steps, so that writes to the active one come between."""
        last = self.active.number if self.active is not None else max(self.sealed, default=-1)
        file = await self._disk.open(_path(last + 1))
        try:
            for start in range(0, self._segment_bytes, FILL_BYTES):
                if not self._is_closing:
                    await file.write_synced(bytes(min(FILL_BYTES, self._segment_bytes - start)), start)
            await self._disk.sync_folder(_FOLDER)
        except OSError:
            with contextlib.suppress(OSError):
                await file.close()
                await self._disk.remove(_path(last + 1))
            raise
        return Segment(last + 1, file, secrets.randbits(63))

    async def remove(self, number: int) -> None:
        async with self._files:
            await self._disk.remove(_path(number))
            self.sealed.remove(number)

    @property
    def files(self) -> list[str]:
        """The paths of those that are sealed."""
        return [_path(number) for number in self.sealed]

    async def check(self, path: str) -> int:
        """Read all copies of a file, which are made the same; its size, 0 where it is gone.

        Raises `LogCorrupt`, `OSError` where none is whole.
        """
        async with self._files:
            found = [number for number in self.sealed if _path(number) == path]
            if not found:
                return 0
            file = await self._disk.open(path)
            try:
                data = await whole(file)
            finally:
                await file.close()
        end = 0
        for place, frame in enumerate(unpack(data)):
            end = frame.end
            if place % FRAMES_AT_ONCE == 0:
                await asyncio.sleep(0)
        if not is_end(data, end):
            raise _damaged(found[0], end)
        return len(data)

    async def close(self) -> None:
        """With a mark behind the last batch: then damage to it is told from a torn one, too."""
        self._is_closing = True
        if self._filling is not None:
            await self._filling
        if self._next is not None:
            with contextlib.suppress(OSError):
                await self._next.file.close()
                await self._disk.remove(_path(self._next.number))
        if self.active is not None:
            if self.active.nonce:
                with contextlib.suppress(OSError):
                    await self.write(b"")
            await self.active.file.close()


def _head(checkpoint: Checkpoint, nonce: int) -> bytes:
    checkpoint.nonce = nonce
    return pack(CHECKPOINT_TOPIC, 0, Record(0, 0, b"", msgspec.json.encode(checkpoint)))


def _is_begun(number: int, data: bytes) -> bool:
    """Whether a segment has its head, which is durable before the first batch. Raises `LogCorrupt` for a batch without."""
    if next(unpack(data), None) is not None:
        return True
    behind = first_end(data)
    if (0 < behind < len(data) and any(data[behind:])) or has_mark(data, 0):
        raise _damaged(number, 0)
    return False


def _damaged(number: int, at: int) -> LogCorrupt:
    return LogCorrupt(f"{_path(number)} is damaged at byte {at}; restore the file from a copy")


def _path(number: int) -> str:
    return f"{_FOLDER}/{number:012}.log"


async def _fill(file: LogFile, start: int, size: int) -> None:
    for position in range(start, size, FILL_BYTES):
        await file.write_synced(bytes(min(FILL_BYTES, size - position)), position)
