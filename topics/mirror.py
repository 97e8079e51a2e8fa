"""The log's files on several disks, as one `LogDisk`: any of them may fail, hang or be lost, and the log goes on.

Rules: what is written goes to all disks in use (`topics/copies.py`) and is durable when it is on all of them; what is read
comes from the first that answers. A file's copies are made the same when it is opened, before it is read: a power cut tears
every copy otherwise, a bit in one may have flipped, a sector may not be readable (it can be written again). A disk that is
new, or was left out, is given what it lacks on the way.
Assumptions: who uses it asks, at its start, for the names of all its folders, and then calls `admit`.
"""

import contextlib
import errno
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from awscrt.checksums import crc32c

from topics.copies import Copies, Copy
from topics.disk import Disk, File

SECTOR_BYTES = 4096  # what a disk cannot read, at the least
Data = bytes | bytearray | memoryview
Mend = Callable[[str, Sequence[bytes]], bytes]  # what copies of a file that differ come to
log_ = logging.getLogger(__name__)


class MirroredFile:
    def __init__(self, path: str, copies: Copies, files: Mapping[Copy, File], mend: Mend) -> None:
        self._path = path
        self._copies = copies
        self._files = files
        self._mend = mend

    async def read(self, size: int, at: int) -> bytes:
        return await self._copies.ask(lambda copy: self._files[copy].read(size, at))

    async def read_checked(self, below: int) -> bytes:
        await self._even_out(below)
        return await self.read(below, 0)

    async def even_out(self) -> None:
        """All of it. In place: until all copies are the same, what they come to can be made of them again."""
        await self._even_out(None)

    async def write_synced(self, data: Data, at: int) -> None:
        await self._copies.each_at_once(lambda copy: self._files[copy].write_synced(data, at))

    async def size(self) -> int:
        return await self._copies.ask(lambda copy: self._files[copy].size())

    async def truncate(self, size: int) -> None:
        await self._copies.each(lambda copy: self._files[copy].truncate(size))

    async def close(self) -> None:
        """Not on a disk that was left out: a write that hangs there would come to the file that gets its number next."""

        def close(copy: Copy) -> None:
            with contextlib.suppress(KeyError, OSError):
                self._files[copy].close()

        await self._copies.each(close)

    async def _even_out(self, below: int | None) -> None:
        states = await self._copies.each(lambda copy: _state(self._files[copy], below))
        if len(set(states.values())) == 1 and not any(state.lacks for state in states.values()):
            return
        of_members = {states[copy] for copy in self._copies.members if copy in states}
        if lost := frozenset.intersection(*(state.lacks for state in of_members)):
            at = min(lost) * SECTOR_BYTES
            raise OSError(errno.EIO, f"{self._path} cannot be read at byte {at} on any disk")
        if len(of_members) == 1:
            size = next(iter(of_members)).size
            best = await self.read(size, 0)
        else:
            log_.warning("the copies of %s differ and are made the same: a power cut, or damage to one of them", self._path)
            contents = await self._copies.each(lambda copy: _readable(self._files[copy], below)[0])
            best = self._mend(self._path, [contents[copy] for copy in self._copies.members if copy in contents])
        state = State(len(best), crc32c(best), frozenset())
        wrong = {copy for copy, found in states.items() if found != state}
        await self._copies.each_at_once(lambda copy: self._rewrite(copy, best, below) if copy in wrong else _nothing())

    async def _rewrite(self, copy: Copy, data: bytes, below: int | None) -> None:
        file = self._files[copy]
        await file.write_synced(data, 0)
        if below is None:
            await copy.run(lambda _: file.truncate(len(data)))  # syncs, too


class State(NamedTuple):
    """Of a file's copy. Size and checksum: as strong as that of each frame."""

    size: int
    checksum: int
    lacks: frozenset[int]  # sectors that cannot be read


class MirroredDisk:
    def __init__(self, copies: Copies, mend: Mend) -> None:
        self._copies = copies
        self._mend = mend

    @classmethod
    async def open_all(cls, disks: Mapping[str, Disk], sign: str, mend: Mend) -> "MirroredDisk":
        """`disks` by name; `sign`: the file that a disk with a log has. Raises `LogError`, `OSError`."""
        return cls(await Copies.open(disks, sign), mend)

    @property
    def members(self) -> list[str]:
        """The names of the disks that have all."""
        return [copy.name for copy in self._copies.members]

    async def admit(self) -> None:
        """All was read that a start reads: so the disks that are joining have it."""
        await self._copies.admit()

    async def open(self, path: str) -> MirroredFile:
        files: dict[Copy, File] = {}

        def open_on(copy: Copy) -> None:
            files[copy] = copy.disk.open(path)

        file = MirroredFile(path, self._copies, files, self._mend)
        try:
            await self._copies.each(open_on)
            await file.even_out()
        except OSError:
            await file.close()
            raise
        return file

    async def names(self, folder: str) -> list[str]:
        by_copy = await self._copies.each(lambda copy: set(copy.disk.names(folder)))
        found = {name for copy in self._copies.members for name in by_copy.get(copy, ())}
        lacking = {name for names in by_copy.values() for name in found - names}
        for name in sorted(found if self._copies.joining else lacking):
            await (await self.open(f"{folder}/{name}")).close()
        for name in sorted(set().union(*by_copy.values()) - found):  # on one that is joining
            await self.remove(f"{folder}/{name}")
        if found and (lacking or self._copies.joining):
            await self.sync_folder(folder)
        return sorted(found)

    async def load(self, path: str) -> bytes | None:
        by_copy = await self._copies.each(lambda copy: copy.disk.load(path))
        stored = [data for copy in self._copies.members if (data := by_copy.get(copy)) is not None]
        if not stored:
            return None
        best = stored[0] if len(set(stored)) == 1 else self._mend(path, stored)
        await self._copies.each(lambda copy: None if by_copy.get(copy) == best else copy.disk.store(path, best))
        return best

    async def store(self, path: str, data: bytes) -> None:
        await self._copies.each(lambda copy: copy.disk.store(path, data))

    async def remove(self, path: str) -> None:
        await self._copies.each(lambda copy: copy.disk.remove(path))

    async def sync_folder(self, folder: str) -> None:
        await self._copies.each(lambda copy: copy.disk.sync_folder(folder))


def _state(file: File, below: int | None) -> State:
    data, lacks = _readable(file, below)
    return State(len(data), crc32c(data), lacks)


def _readable(file: File, below: int | None) -> tuple[bytes, frozenset[int]]:
    """What can be read, zeros for the rest; the sectors that cannot."""
    size = file.size() if below is None else below
    try:
        return file.read(size, 0), frozenset()
    except OSError:
        pieces: list[bytes] = []
        lacks: set[int] = set()
        for at in range(0, size, SECTOR_BYTES):
            step = min(SECTOR_BYTES, size - at)
            try:
                pieces.append(file.read(step, at))
            except OSError:
                pieces.append(bytes(step))
                lacks.add(at // SECTOR_BYTES)
        return b"".join(pieces), frozenset(lacks)


async def _nothing() -> None:
    """To be done for a copy that is as it should be."""
