"""The `Disk` port below the log's and the volumes' files, so that a test can lose what was not synced.

Rules: paths are relative to the disk's root. What `write` returned from survives the end of the process; what
`write_synced`, `sync` or `sync_folder` returned from survives a power cut. `write_synced` covers only its own bytes
(RWF_DSYNC); `sync` covers all bytes written to that file before it. A file's name is durable after `sync_folder`.
Errors: `OSError`, as the operating system gives it.
"""

import asyncio
import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from topics.threads import Threads

KEEP_SIZE_PUNCH_HOLE = 0x03  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, linux/falloc.h
STAT_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own blocks are
SYNC_THREADS = 4  # the journal's and a few volumes' syncs at once
LATE_S = 0.25  # far more than a sync takes, far less than until a file system takes no write any more
CALL_THREADS = 8  # so many calls at once keep a disk busy
T = TypeVar("T")


class File(Protocol):
    def read(self, size: int, at: int) -> bytes:
        """Up to `size` bytes from `at`; shorter only at the end of the file."""
        ...

    def read_cached(self, size: int, at: int) -> bytes:
        """The same of what is in memory. Raises `BlockingIOError` where the disk may have to be asked."""
        ...

    def write(self, data: bytes | bytearray | memoryview, at: int) -> None: ...

    async def write_synced(self, data: bytes | bytearray | memoryview, at: int) -> None: ...

    async def sync(self) -> None: ...

    def size(self) -> int: ...

    def allocated_bytes(self) -> int:
        """What it takes from the file system, holes left out."""
        ...

    def truncate(self, size: int) -> None:
        """Set the size and sync it."""
        ...

    def punch(self, at: int, size: int) -> None:
        """The range reads as zeros, and its whole blocks go back to the file system. Best effort."""
        ...

    def close(self) -> None: ...


class Disk(Protocol):
    def open(self, path: str) -> File:
        """Open for reading and writing; created empty, with its folders, where missing."""
        ...

    def names(self, folder: str) -> list[str]:
        """Sorted names of the files in a folder; empty where it is missing."""
        ...

    def load(self, path: str) -> bytes | None:
        """A small file whole; None where it is missing."""
        ...

    def store(self, path: str, data: bytes) -> None:
        """Replace a small file atomically and durably."""
        ...

    def remove(self, path: str) -> None: ...

    def sync_folder(self, folder: str) -> None: ...

    def free_bytes(self) -> int:
        """What this process may still write."""
        ...

    def total_bytes(self) -> int:
        """Of the whole file system."""
        ...

    @property
    def is_late(self) -> bool:
        """Whether it was asked to sync something, and has answered nothing since, for some time: a write to memory may not
        end either, for a file system does not take all of them while it waits for its disk."""
        ...

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` gives, which calls this disk: in a thread, for who must not stand still where the disk hangs."""
        ...

    def close(self) -> None: ...


class OsFile:
    def __init__(self, path: Path, threads: Threads) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._threads = threads
        self._tells_cached = True

    def read(self, size: int, at: int) -> bytes:
        data = os.pread(self._fd, size, at)
        if len(data) == size or not data:
            return data
        pieces = [data]  # what lies before a bad sector is given without an error, which comes with the next call
        while data and (left := size - sum(map(len, pieces))):
            data = os.pread(self._fd, left, at + size - left)
            pieces.append(data)
        return b"".join(pieces)

    def read_cached(self, size: int, at: int) -> bytes:
        """Some file systems cannot tell: most of these are in memory themselves."""
        if not self._tells_cached:
            return self.read(size, at)
        data = bytearray(size)
        try:
            found = os.preadv(self._fd, [data], at, os.RWF_NOWAIT)
            if found == size:
                return bytes(data)
            if found and os.preadv(self._fd, (bytearray(1),), at + found, os.RWF_NOWAIT):
                raise BlockingIOError(errno.EAGAIN, "a part of it is not in memory")
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            self._tells_cached = False
            return self.read(size, at)
        return bytes(data[:found])  # the file ends there

    def write(self, data: bytes | bytearray | memoryview, at: int) -> None:
        _write_all(self._fd, data, at, 0)

    async def write_synced(self, data: bytes | bytearray | memoryview, at: int) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, _write_all, self._fd, data, at, os.RWF_DSYNC)

    async def sync(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, os.fdatasync, self._fd)

    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def allocated_bytes(self) -> int:
        return os.fstat(self._fd).st_blocks * STAT_BLOCK_BYTES

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        os.fsync(self._fd)

    def punch(self, at: int, size: int) -> None:
        _libc.fallocate(self._fd, KEEP_SIZE_PUNCH_HOLE, ctypes.c_int64(at), ctypes.c_int64(size))

    def close(self) -> None:
        os.close(self._fd)


class OsDisk:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._syncs = Threads(SYNC_THREADS, "syncs")
        self._calls = Threads(CALL_THREADS, "calls of a disk")
        root.mkdir(parents=True, exist_ok=True)

    def open(self, path: str) -> OsFile:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return OsFile(target, self._syncs)

    def names(self, folder: str) -> list[str]:
        try:
            with os.scandir(self._root / folder) as entries:
                return sorted(entry.name for entry in entries if entry.is_file())
        except FileNotFoundError:
            return []

    def load(self, path: str) -> bytes | None:
        target = self._root / path
        return target.read_bytes() if target.exists() else None

    def store(self, path: str, data: bytes) -> None:
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(target.name + ".new")
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
        _sync_folder(target.parent)

    def remove(self, path: str) -> None:
        (self._root / path).unlink(missing_ok=True)

    def sync_folder(self, folder: str) -> None:
        _sync_folder(self._root / folder)

    def free_bytes(self) -> int:
        found = os.statvfs(self._root)
        return found.f_bavail * found.f_frsize

    def total_bytes(self) -> int:
        found = os.statvfs(self._root)
        return found.f_blocks * found.f_frsize

    @property
    def is_late(self) -> bool:
        return self._syncs.silent_s > LATE_S

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._calls, work)

    def close(self) -> None:
        for threads in (self._syncs, self._calls):
            threads.shutdown(cancel_futures=True)


_libc = ctypes.CDLL(None, use_errno=True)


def _write_all(fd: int, data: bytes | bytearray | memoryview, at: int, flags: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwritev(fd, [view], at, flags)
        view = view[written:]
        at += written


def _sync_folder(path: Path) -> None:
    """Sync a folder and, because it may be new itself, the one above."""
    for each in (path, path.parent):
        with _folder(each) as fd:
            os.fsync(fd)


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
