"""The data folder: one process at a time, and a format version that an older release refuses to touch.

format.json  journal/  archive/  log.json  volumes/     what is durable
view/  index/                                           derived: may be deleted, the next start builds them again
"""

import fcntl
import os
from pathlib import Path

import msgspec

from topics.disk import OsDisk

FORMAT_VERSION = 1
_FORMAT = "format.json"


class _Format(msgspec.Struct):
    version: int


class FolderRefused(Exception):
    """The data folder cannot be used; the text says why and what to do."""


class DataFolder:
    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FolderRefused(f"data folder {path} cannot be used: {error.strerror}") from error
        self.path = path
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderRefused(f"data folder {path} is held by another process; stop that one first") from None
        self._check_format()

    def _check_format(self) -> None:
        """The version is written once, when the folder is new, and read ever after."""
        path = self.path / _FORMAT
        if not path.exists():
            disk = OsDisk(self.path)
            disk.store(_FORMAT, msgspec.json.encode(_Format(FORMAT_VERSION)))
            disk.close()
            return
        try:
            version = msgspec.json.decode(path.read_bytes(), type=_Format).version
        except (OSError, ValueError) as error:
            raise FolderRefused(f"{path} cannot be read ({error}); restore it from a copy") from error
        if version > FORMAT_VERSION:
            raise FolderRefused(
                f"data folder {self.path} has format {version}, this release knows {FORMAT_VERSION}; upgrade bucketlog"
            )

    def close(self) -> None:
        os.close(self._lock)
