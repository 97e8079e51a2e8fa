"""The log's files on several disks, as one `Disk`: any of them may fail or be lost, and the log goes on.

Rules: what is written goes to all disks in use (`topics/copies.py`) and is durable when it is on all of them; what is read
comes from the first. At a start the members' copies are made the same, each file before it is read: a power cut tears every
copy otherwise, and a bit in one may have flipped. A disk that is new, or was left out, is given what it lacks on the way.
Assumptions: who uses it asks, at its start, for the names of all its folders, and then calls `admit`.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence

from awscrt.checksums import crc32c

from topics.copies import Copies, Copy
from topics.disk import Disk, File

Data = bytes | bytearray | memoryview
Mend = Callable[[str, Sequence[bytes]], bytes]  # what copies of a file that differ come to
log_ = logging.getLogger(__name__)


class MirroredFile:
    def __init__(self, copies: Copies, files: Mapping[Copy, File]) -> None:
        self._copies = copies
        self._files = files

    def read(self, size: int, at: int) -> bytes:
        return self._copies.ask(lambda copy: self._files[copy].read(size, at))

    def write(self, data: Data, at: int) -> None:
        self._copies.each(lambda copy: self._files[copy].write(data, at))

    async def write_synced(self, data: Data, at: int) -> None:
        await self._copies.each_at_once(lambda copy: self._files[copy].write_synced(data, at))

    async def sync(self) -> None:
        await self._copies.each_at_once(lambda copy: self._files[copy].sync())

    def size(self) -> int:
        return self._copies.ask(lambda copy: self._files[copy].size())

    def allocated_bytes(self) -> int:
        return self._copies.ask(lambda copy: self._files[copy].allocated_bytes())

    def truncate(self, size: int) -> None:
        self._copies.each(lambda copy: self._files[copy].truncate(size))

    def punch(self, at: int, size: int) -> None:
        self._copies.each(lambda copy: self._files[copy].punch(at, size))

    def close(self) -> None:
        """Not on a disk that was left out: a write that hangs there would come to the file that gets its number next."""
        for copy in self._copies.in_use:
            with contextlib.suppress(KeyError, OSError):
                self._files[copy].close()


class MirroredDisk:
    def __init__(self, disks: Mapping[str, Disk], sign: str, mend: Mend) -> None:
        """`disks` by name; `sign`: the file that a disk with a log has. Raises `LogError`, `OSError`."""
        self._copies = Copies(disks, sign)
        self._mend = mend

    @property
    def members(self) -> list[str]:
        """The names of the disks that have all."""
        return [copy.name for copy in self._copies.members]

    def admit(self) -> None:
        """All was read that a start reads: so the disks that are joining have it."""
        self._copies.admit()

    def open(self, path: str) -> File:
        files: dict[Copy, File] = {}

        def open_on(copy: Copy) -> None:
            files[copy] = copy.disk.open(path)

        try:
            self._copies.each(open_on)
            self._even_out(path, files)
        except OSError:
            MirroredFile(self._copies, files).close()
            raise
        return MirroredFile(self._copies, files)

    def names(self, folder: str) -> list[str]:
        by_copy = self._copies.each(lambda copy: set(copy.disk.names(folder)))
        found = {name for copy in self._copies.members for name in by_copy[copy]}
        lacking = {name for names in by_copy.values() for name in found - names}
        for name in sorted(found if self._copies.joining else lacking):
            self.open(f"{folder}/{name}").close()
        for name in {name for names in by_copy.values() for name in names - found}:  # on one that is joining
            self.remove(f"{folder}/{name}")
        if found and (lacking or self._copies.joining):
            self.sync_folder(folder)
        return sorted(found)

    def load(self, path: str) -> bytes | None:
        by_copy = self._copies.each(lambda copy: copy.disk.load(path))
        stored = [data for copy in self._copies.members if (data := by_copy[copy]) is not None]
        if not stored:
            return None
        best = stored[0] if len(set(stored)) == 1 else self._mend(path, stored)
        self._copies.each(lambda copy: None if by_copy[copy] == best else copy.disk.store(path, best))
        return best

    def store(self, path: str, data: bytes) -> None:
        self._copies.each(lambda copy: copy.disk.store(path, data))

    def remove(self, path: str) -> None:
        self._copies.each(lambda copy: copy.disk.remove(path))

    def sync_folder(self, folder: str) -> None:
        self._copies.each(lambda copy: copy.disk.sync_folder(folder))

    def free_bytes(self) -> int:
        return min(self._copies.each(lambda copy: copy.disk.free_bytes()).values())

    def total_bytes(self) -> int:
        return min(self._copies.each(lambda copy: copy.disk.total_bytes()).values())

    def close(self) -> None:
        for copy in self._copies.in_use:
            copy.disk.close()

    def _even_out(self, path: str, files: Mapping[Copy, File]) -> None:
        """In place: until all are the same, what they come to can be made of them again."""
        states = self._copies.each(lambda copy: _state(files[copy]))
        if len(set(states.values())) == 1:
            return
        if len({states[copy] for copy in self._copies.members}) == 1:
            best = self._copies.ask(lambda copy: _whole(files[copy]))
        else:
            log_.warning("the copies of %s differ and are made the same: a power cut, or damage to one of them", path)
            contents = self._copies.each(lambda copy: _whole(files[copy]))
            best = self._mend(path, [contents[copy] for copy in self._copies.members])
        state = len(best), crc32c(best)
        self._copies.each(lambda copy: None if states[copy] == state else _rewrite(files[copy], best))


def _whole(file: File) -> bytes:
    return file.read(file.size(), 0)


def _state(file: File) -> tuple[int, int]:
    """Size and checksum: as strong as that of each frame."""
    data = _whole(file)
    return len(data), crc32c(data)


def _rewrite(file: File, data: bytes) -> None:
    file.write(data, 0)
    file.truncate(len(data))  # syncs, too
