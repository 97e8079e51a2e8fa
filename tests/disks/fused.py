"""A disk behind a fuse: a number of operations go well, and all that come later fail. Closing always goes well."""

from collections.abc import Callable
from typing import TypeVar

from topics.disk import Disk, File

Data = bytes | bytearray | memoryview
T = TypeVar("T")


class Fuse:
    """Knobs: `left`, how many operations go well, None where all do; `error`, what the others raise."""

    def __init__(self, left: int | None = None, error: Exception | None = None) -> None:
        self.left = left
        self.error = error or OSError(5, "Input/output error (by the test's wish)")
        self.spent = 0

    def spend(self) -> None:
        self.spent += 1
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            raise self.error


class FusedFile:
    def __init__(self, file: File, fuse: Fuse) -> None:
        self._file = file
        self._fuse = fuse

    def read(self, size: int, at: int) -> bytes:
        self._fuse.spend()
        return self._file.read(size, at)

    def read_cached(self, size: int, at: int) -> bytes:
        self._fuse.spend()
        return self._file.read_cached(size, at)

    def write(self, data: Data, at: int) -> None:
        self._fuse.spend()
        self._file.write(data, at)

    async def write_synced(self, data: Data, at: int) -> None:
        self._fuse.spend()
        await self._file.write_synced(data, at)

    async def sync(self) -> None:
        self._fuse.spend()
        await self._file.sync()

    def size(self) -> int:
        return self._file.size()

    def allocated_bytes(self) -> int:
        return self._file.allocated_bytes()

    def truncate(self, size: int) -> None:
        self._fuse.spend()
        self._file.truncate(size)

    def punch(self, at: int, size: int) -> None:
        self._fuse.spend()
        self._file.punch(at, size)

    def close(self) -> None:
        self._file.close()


class FusedDisk:
    def __init__(self, disk: Disk, fuse: Fuse) -> None:
        self._disk = disk
        self._fuse = fuse

    def open(self, path: str) -> File:
        self._fuse.spend()
        return FusedFile(self._disk.open(path), self._fuse)

    def names(self, folder: str) -> list[str]:
        self._fuse.spend()
        return self._disk.names(folder)

    def load(self, path: str) -> bytes | None:
        self._fuse.spend()
        return self._disk.load(path)

    def store(self, path: str, data: bytes) -> None:
        self._fuse.spend()
        self._disk.store(path, data)

    def remove(self, path: str) -> None:
        self._fuse.spend()
        self._disk.remove(path)

    def sync_folder(self, folder: str) -> None:
        self._fuse.spend()
        self._disk.sync_folder(folder)

    def free_bytes(self) -> int:
        return self._disk.free_bytes()

    def total_bytes(self) -> int:
        return self._disk.total_bytes()

    @property
    def is_late(self) -> bool:
        return self._disk.is_late

    async def run(self, work: Callable[[], T]) -> T:
        return await self._disk.run(work)

    def close(self) -> None:
        self._disk.close()
