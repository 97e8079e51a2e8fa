"""The `LogDisk` port below the embedded log: like `Disk`, but off the event loop, for a disk may hang in any call.

Adapters: `OneDisk` here, where a disk that hangs is waited for; `topics/mirror.py`, where others go on without it.
Errors: `OSError`, as of `Disk`.
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

from topics.disk import Disk, File

T = TypeVar("T")


class LogFile(Protocol):
    async def read(self, size: int, at: int) -> bytes: ...

    async def read_checked(self, below: int) -> bytes:
        """What lies below, where nobody writes: of all copies, and those that differ are made the same."""
        ...

    async def write_synced(self, data: bytes | bytearray | memoryview, at: int) -> None: ...

    async def size(self) -> int: ...

    async def truncate(self, size: int) -> None:
        """Set the size and sync it."""
        ...

    async def close(self) -> None:
        """Errors are nobody's: what counts was synced."""
        ...


class LogDisk(Protocol):
    async def open(self, path: str) -> LogFile: ...

    async def names(self, folder: str) -> list[str]: ...

    async def load(self, path: str) -> bytes | None: ...

    async def store(self, path: str, data: bytes) -> None: ...

    async def remove(self, path: str) -> None: ...

    async def sync_folder(self, folder: str) -> None: ...


async def whole(file: LogFile) -> bytes:
    return await file.read(await file.size(), 0)


class OneFile:
    def __init__(self, disk: Disk, file: File) -> None:
        self._disk = disk
        self._file = file

    async def read(self, size: int, at: int) -> bytes:
        return await self._disk.run(lambda: self._file.read(size, at))

    async def read_checked(self, below: int) -> bytes:
        return await self.read(below, 0)

    async def write_synced(self, data: bytes | bytearray | memoryview, at: int) -> None:
        await self._file.write_synced(data, at)

    async def size(self) -> int:
        return await self._disk.run(self._file.size)

    async def truncate(self, size: int) -> None:
        await self._disk.run(lambda: self._file.truncate(size))

    async def close(self) -> None:
        await self._disk.run(self._file.close)


class OneDisk:
    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def open(self, path: str) -> LogFile:
        return OneFile(self._disk, await self._run(lambda disk: disk.open(path)))

    async def names(self, folder: str) -> list[str]:
        return await self._run(lambda disk: disk.names(folder))

    async def load(self, path: str) -> bytes | None:
        return await self._run(lambda disk: disk.load(path))

    async def store(self, path: str, data: bytes) -> None:
        await self._run(lambda disk: disk.store(path, data))

    async def remove(self, path: str) -> None:
        await self._run(lambda disk: disk.remove(path))

    async def sync_folder(self, folder: str) -> None:
        await self._run(lambda disk: disk.sync_folder(folder))

    async def _run(self, work: Callable[[Disk], T]) -> T:
        return await self._disk.run(lambda: work(self._disk))
