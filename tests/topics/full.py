"""A disk that is full at a moment of the test's choice: `left` operations go well, then one fails half done.

Operations are writes, syncs, the opening of files and syncs of folders; reading and cutting a file always go well. A sync
that fails loses what it did not sync, as Linux does. A closed file refuses everything: the operating system may have given
its number to another file by then.
"""

import errno
from pathlib import Path

from topics.disk import OsDisk, OsFile

Data = bytes | bytearray | memoryview


class FullDisk(OsDisk):
    """Knob: `left`, how many operations go well before one fails; None where none does."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.left: int | None = None

    def open(self, path: str) -> OsFile:
        self.spend()
        super().open(path).close()  # with its folders
        return FullFile(self, self._root / path)

    def sync_folder(self, folder: str) -> None:
        self.spend()
        super().sync_folder(folder)

    def spend(self) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise OSError(errno.ENOSPC, "No space left on device (by the test's wish)")


class FullFile(OsFile):
    def __init__(self, disk: FullDisk, path: Path) -> None:
        super().__init__(path, disk._threads)
        self._disk = disk
        self._is_closed = False
        self._unsynced: list[tuple[int, bytes]] = []  # what was there before

    def write(self, data: Data, at: int) -> None:
        self._spend(data, at)
        self._unsynced.append((at, self.read(len(data), at).ljust(len(data), b"\0")))
        super().write(data, at)

    async def write_synced(self, data: Data, at: int) -> None:
        self._spend(data, at)
        await super().write_synced(data, at)

    async def sync(self) -> None:
        try:
            self._spend(b"", 0)
        except OSError:
            for at, data in reversed(self._unsynced):
                super().write(data, at)
            raise
        await super().sync()
        self._unsynced.clear()

    def close(self) -> None:
        self._check()
        self._is_closed = True
        super().close()

    def _check(self) -> None:
        if self._is_closed:
            raise OSError(errno.EBADF, "used after its close")

    def _spend(self, data: Data, at: int) -> None:
        self._check()
        try:
            self._disk.spend()
        except OSError:
            super().write(data[: len(data) // 2], at)
            raise
