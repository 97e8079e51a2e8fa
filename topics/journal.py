"""The write-ahead journal: one sequence of segment files for all topics, so that one sync serves a batch.

Assumptions: one writer. A segment is filled with zeros before its first use, because a synced write into allocated blocks
needs no commit of the file system's own journal (measured: 0.10 ms against 0.21 ms when the file grows).
Each segment starts with a checkpoint (JSON): the next and the earliest offset of every partition, so that a segment can go
without the offsets being forgotten.
Each batch begins with a mark. A batch is written when the one before is durable: so a bad frame with a mark behind it was
whole once, and is damage; without one it may be what a power cut broke off.
"""

import contextlib
import secrets
from collections.abc import Iterator

import msgspec

from topics.disk import Disk, File
from topics.frame import MARK_TOPIC, Frame, first_end, has_mark, is_end, mark, pack, unpack
from topics.log import LogCorrupt, Record

SEGMENT_BYTES = 64 << 20  # ~10 s of small PUTs at full speed; what a start has to read again
CHECKPOINT_TOPIC = 0xFFFF
_FOLDER = "journal"
_ZEROS = bytes(1 << 20)


class Checkpoint(msgspec.Struct):
    """State of each partition ("topic/number") when a segment began."""

    next_offsets: dict[str, int] = {}
    earliest: dict[str, int] = {}
    archived: dict[str, int] = {}  # below which each kept partition was in its archive
    nonce: int = 0  # of the segment's marks; 0: it has none


class Segment:
    def __init__(self, number: int, file: File, nonce: int) -> None:
        self.number = number
        self.file = file
        self.nonce = nonce
        self.end = 0  # where the next frame goes


class Journal:
    def __init__(self, disk: Disk, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._disk = disk
        self._segment_bytes = segment_bytes
        self.sealed: list[int] = []
        self.active: Segment | None = None

    def recover(self) -> Iterator[Frame]:
        """All frames in order, checkpoints included; cuts the torn tail of the last segment.

        Raises `LogCorrupt` for a bad frame in an earlier segment, which was whole when the next began, or before a mark.
        """
        numbers = [int(name.removesuffix(".log")) for name in self._disk.names(_FOLDER)]
        if numbers:
            self._disk.sync_folder(_FOLDER)  # a killed process may not have got to it
        for number in numbers:
            file = self._disk.open(_path(number))
            data = file.read(file.size(), 0)
            end = nonce = 0
            for frame in unpack(data):
                end = frame.end
                if frame.topic == CHECKPOINT_TOPIC:
                    nonce = msgspec.json.decode(frame.record.value, type=Checkpoint).nonce
                if frame.topic != MARK_TOPIC:
                    yield frame
            if number != numbers[-1]:
                if not is_end(data, end):
                    raise _damaged(number, end)
                file.close()
                self.sealed.append(number)
            else:
                is_torn = not is_end(data, end) or any(data[end:])
                if is_torn and _was_whole(data, end, nonce):
                    raise _damaged(number, end)
                self.active = Segment(number, file, nonce)
                self.active.end = end
                # syncs too: what a killed process left unsynced is about to be shown to readers
                file.truncate(end if is_torn else file.size())
                _fill(file, self._segment_bytes)  # zeros behind the cut: stale bytes must never look like frames

    def is_full(self, adding: int) -> bool:
        return self.active is None or self.active.end + adding > self._segment_bytes

    async def roll(self, checkpoint: Checkpoint) -> None:
        """Start a new segment, durable with its checkpoint; the one before is sealed. After an error roll again."""
        if self.active is not None:
            self.active.file.close()
            self.sealed.append(self.active.number)
            self.active = None
        number = self.sealed[-1] + 1 if self.sealed else 0
        file = self._disk.open(_path(number))
        checkpoint.nonce = secrets.randbits(63)
        head = pack(CHECKPOINT_TOPIC, 0, Record(0, 0, b"", msgspec.json.encode(checkpoint)))
        try:
            _fill(file, self._segment_bytes)
            file.write(head, 0)
            await file.sync()
            self._disk.sync_folder(_FOLDER)
        except OSError:
            file.close()
            raise
        self.active = Segment(number, file, checkpoint.nonce)
        self.active.end = len(head)

    async def write(self, data: bytes) -> None:
        """Append frames to the active segment, durable on return. After an error nothing of them remains."""
        assert self.active is not None
        segment = self.active
        if segment.nonce:
            data = mark(segment.end, segment.nonce) + data
        try:
            await segment.file.write_synced(data, segment.end)
        except OSError:
            segment.file.truncate(segment.end)
            _fill(segment.file, self._segment_bytes)
            raise
        segment.end += len(data)

    def remove(self, number: int) -> None:
        self._disk.remove(_path(number))
        self.sealed.remove(number)

    async def close(self) -> None:
        """With a mark behind the last batch: then damage to it is told from a torn one, too."""
        if self.active is not None:
            if self.active.nonce:
                with contextlib.suppress(OSError):
                    await self.write(b"")
            self.active.file.close()


def _was_whole(data: bytes, end: int, nonce: int) -> bool:
    """Of a bad frame at `end` of a segment: whether something was written behind it."""
    if end:
        return bool(nonce) and has_mark(data, end, nonce)
    behind = first_end(data)  # the checkpoint's, durable before the first batch
    return 0 < behind < len(data) and any(data[behind:])


def _damaged(number: int, at: int) -> LogCorrupt:
    return LogCorrupt(f"{_path(number)} is damaged at byte {at}; restore the file from a copy")


def _path(number: int) -> str:
    return f"{_FOLDER}/{number:012}.log"


def _fill(file: File, size: int) -> None:
    position = file.size()
    while position < size:
        file.write(_ZEROS[: size - position], position)
        position += len(_ZEROS)
