"""A disk that fails as disks do, over any other `Disk`: a bad sector, errors, a hang, no room, slowness, writes half done.

Rules: an operation that fails has done nothing, but a write, which may have been done in part. A sync that fails has lost
what it was to cover, as Linux does: a later one says that all is well. Closing always goes well; a closed file refuses
everything, for the operating system may have given its number to another by then. Only what is awaited can hang or be slow;
`stood_still` has what was called on the loop where the disk hung: of files that nobody may call so; reads of what is not in
memory; and writes when the disk could be known to hang.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from typing import TypeVar

from topics.disk import LATE_S, Disk, File

SECTOR_BYTES = 4096
OF_THE_VOLUMES = "volumes"
OF_THE_LOG = ("journal", "archive", "log.json", "mirror.json")  # never to be called on the loop
T = TypeVar("T")
Data = bytes | bytearray | memoryview


class FaultyDisk:
    """Knobs:

    `bad`            sectors, as (path, number), whose reading fails; writing one makes it good again
    `is_broken`      everything fails, with `broken_errno`
    `left`           how many operations go well before one fails, half done and with `left_errno`; None where none does
    `sync_errno`     how the next sync of a file fails; None where it does not
    `room_bytes`     how many more may be written; a write beyond is done as far as it goes, and there is no space left
    `is_cold`        nothing of the volumes is in memory: each read asks the disk
    `slow_s`         what each synced write and each sync takes longer
    `hangs_after`    how many synced writes, syncs and runs go well before it hangs; None where it does not
    `hang`, `go_on`  from the one to the other synced writes, syncs and what is run do not end
    `is_mute`        what is run hangs behind its end: it is done, and nobody hears of it
    `when_raised`    is told the number of each error
    """

    def __init__(self, inner: Disk) -> None:
        self.inner = inner
        self.bad: set[tuple[str, int]] = set()
        self.is_broken = False
        self.broken_errno = errno.EIO
        self.left: int | None = None
        self.left_errno = errno.ENOSPC
        self.sync_errno: int | None = None
        self.syncs_failed = 0
        self.room_bytes: int | None = None
        self.is_cold = False
        self.slow_s = 0.0
        self.when_raised: Callable[[int], None] = lambda number: None
        self.hangs_after: int | None = None
        self.is_mute = False
        self.waits = 0  # that there were
        self.stood_still: list[str] = []
        self._is_running = False
        self._waiting_since_s: float | None = None  # and nothing has ended since
        self._may_go_on = asyncio.Event()
        self._may_go_on.set()

    def heal(self) -> None:
        """All knobs as they were."""
        self.bad.clear()
        self.is_broken, self.left, self.sync_errno, self.room_bytes, self.slow_s = False, None, None, None, 0.0
        self.is_cold = self.is_mute = False
        self.go_on()

    def break_sector(self, path: str, at: int) -> None:
        """The one with the byte `at` of a file."""
        self.bad.add((path, at // SECTOR_BYTES))

    def hang(self) -> None:
        self._may_go_on.clear()

    def go_on(self) -> None:
        self._waiting_since_s = None
        self.hangs_after = None
        self._may_go_on.set()

    @property
    def is_well(self) -> bool:
        """Whether it takes and syncs what comes; some sectors may be bad, or one operation may fail."""
        return not self.is_broken and not self.hangs

    @property
    def hangs(self) -> bool:
        return not self._may_go_on.is_set()

    # the port

    def open(self, path: str) -> File:
        self.called("open", path)
        self.spend()
        return FaultyFile(self, path, self.inner.open(path))

    def names(self, folder: str) -> list[str]:
        self.called("names", folder)
        self.check()
        return self.inner.names(folder)

    def load(self, path: str) -> bytes | None:
        self.called("load", path)
        self.check()
        return self.inner.load(path)

    def store(self, path: str, data: bytes) -> None:
        self.called("store", path)
        self.spend()
        self.take(len(data))
        self.inner.store(path, data)

    def remove(self, path: str) -> None:
        self.called("remove", path)
        self.check()
        self.inner.remove(path)

    def sync_folder(self, folder: str) -> None:
        self.called("sync_folder", folder)
        self.spend()
        self.inner.sync_folder(folder)

    def free_bytes(self) -> int:
        self.check()
        free = self.inner.free_bytes()
        return free if self.room_bytes is None else min(free, self.room_bytes)

    def total_bytes(self) -> int:
        self.check()
        return self.inner.total_bytes()

    @property
    def is_late(self) -> bool:
        since_s = self._waiting_since_s
        return since_s is not None and not self.is_broken and asyncio.get_running_loop().time() - since_s > LATE_S

    async def run(self, work: Callable[[], T]) -> T:
        if not self.is_mute:
            await self.waited()

        def called() -> T:
            self._is_running = True
            try:
                return work()
            finally:
                self._is_running = False

        found = await self.inner.run(called)
        if self.is_mute:
            await self.waited()
        return found

    def close(self) -> None:
        self.inner.close()

    # what its files ask

    def check(self) -> None:
        """Raises `OSError` where everything fails."""
        if self.is_broken:
            raise self.error(self.broken_errno)

    def called(self, what: str, path: str) -> None:
        if self._may_go_on.is_set() or self._is_running:
            return
        may_wait = self.is_cold if what == "read" else self._waiting_since_s is not None and self.is_late
        if path.startswith(OF_THE_LOG) or (path.startswith(OF_THE_VOLUMES) and may_wait):
            self.stood_still.append(f"{what} {path}")

    def spend(self) -> None:
        """One operation. Raises `OSError` where it is the one to fail."""
        self.check()
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise self.error(self.left_errno)

    def fail_sync(self) -> None:
        """Raises `OSError` where it is the one to fail."""
        if self.sync_errno is not None:
            number, self.sync_errno = self.sync_errno, None
            raise self.error(number)

    def take(self, size: int) -> None:
        """Room. Raises `OSError` where there is not so much."""
        if self.room_bytes is None:
            return
        if size > self.room_bytes:
            raise self.error(errno.ENOSPC)
        self.room_bytes -= size

    def error(self, number: int) -> OSError:
        self.when_raised(number)
        return OSError(number, f"{os.strerror(number)} (by the test's wish)")

    async def waited(self) -> None:
        """For a disk that is slow, or hangs."""
        self.waits += 1
        if self.hangs_after is not None and self.waits > self.hangs_after:
            self.hang()
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        if not self._may_go_on.is_set():
            if self._waiting_since_s is None:
                self._waiting_since_s = asyncio.get_running_loop().time()
            await self._may_go_on.wait()


class FaultyFile:
    def __init__(self, disk: FaultyDisk, path: str, inner: File) -> None:
        self._disk = disk
        self._path = path
        self._inner = inner
        self._is_closed = False
        self._unsynced: list[tuple[int, bytes]] = []  # where, and what was there before

    def read(self, size: int, at: int) -> bytes:
        self._open("read")
        self._disk.check()
        if self._disk.bad:
            end = min(at + size, self._inner.size())
            if any((self._path, number) in self._disk.bad for number in _sectors(at, end)):
                raise self._disk.error(errno.EIO)
        return self._inner.read(size, at)

    def read_cached(self, size: int, at: int) -> bytes:
        if self._disk.is_cold:
            self._open()
            self._disk.check()
            raise BlockingIOError(errno.EAGAIN, "not in memory (by the test's wish)")
        return self.read(size, at)

    def write(self, data: Data, at: int) -> None:
        self._disk.called("write", self._path)
        self._may_write(data, at)
        self._write(data, at)

    async def write_synced(self, data: Data, at: int) -> None:
        self._may_write(data, at)
        await self._disk.waited()
        self._disk.check()
        await self._inner.write_synced(data, at)
        self._written(data, at)

    async def sync(self) -> None:
        self._open()
        covered = len(self._unsynced)
        try:
            self._disk.spend()
            await self._disk.waited()
            self._disk.check()
            self._disk.fail_sync()
        except OSError:
            self._disk.syncs_failed += 1
            self._lose(covered)
            raise
        await self._inner.sync()
        del self._unsynced[:covered]

    def size(self) -> int:
        self._open("size")
        self._disk.check()
        return self._inner.size()

    def allocated_bytes(self) -> int:
        self._open()
        self._disk.check()
        return self._inner.allocated_bytes()

    def truncate(self, size: int) -> None:
        self._open("truncate")
        self._disk.check()
        self._inner.truncate(size)
        self._unsynced.clear()

    def punch(self, at: int, size: int) -> None:
        self._open("punch")
        if not self._disk.is_broken:  # else as the real one: nobody is told
            self._inner.punch(at, size)

    def close(self) -> None:
        if self._is_closed:
            raise self._disk.error(errno.EBADF)
        self._open("close")
        self._is_closed = True
        self._inner.close()

    def _open(self, what: str = "") -> None:
        if self._is_closed:
            raise self._disk.error(errno.EBADF)
        if what:
            self._disk.called(what, self._path)

    def _may_write(self, data: Data, at: int) -> None:
        self._open()
        try:
            self._disk.spend()
        except OSError:
            if not self._disk.is_broken:
                self._write(data[: len(data) // 2], at)
            raise
        try:
            self._disk.take(len(data))
        except OSError:
            self._write(data[: self._disk.room_bytes], at)
            self._disk.room_bytes = 0
            raise

    def _write(self, data: Data, at: int) -> None:
        self._unsynced.append((at, self._inner.read(len(data), at).ljust(len(data), b"\0")))
        self._inner.write(data, at)
        self._written(data, at)

    def _written(self, data: Data, at: int) -> None:
        if self._disk.bad:
            self._disk.bad -= {(self._path, number) for number in _sectors(at, at + len(data))}

    def _lose(self, covered: int) -> None:
        """The page cache calls them clean, and drops them: nobody else will write them out."""
        for at, before in reversed(self._unsynced[:covered]):
            self._inner.write(before, at)
        del self._unsynced[:covered]


def _sectors(start: int, end: int) -> range:
    return range(start // SECTOR_BYTES, -(-end // SECTOR_BYTES))
