"""The data folder: one process at a time, and a format version that an older release refuses to touch.

format.json  journal/  archive/  log.json  volumes/     what is durable
view/  index/                                           derived: may be deleted, the next start builds them again
"""

import fcntl
import json
import os
from pathlib import Path

FORMAT_VERSION = 1


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
        path = self.path / "format.json"
        if path.exists():
            version = json.loads(path.read_text())["version"]
            if version > FORMAT_VERSION:
                raise FolderRefused(
                    f"data folder {self.path} has format {version}, this release knows {FORMAT_VERSION}; upgrade bucketlog"
                )
            return
        path.write_text(json.dumps({"version": FORMAT_VERSION}))

    def close(self) -> None:
        os.close(self._lock)
