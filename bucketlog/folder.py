"""The data folder: one process at a time, and a format version that an older release refuses to touch.

format.json  journal/  archive/  log.json  volumes/     what is durable
mirror.json                                             of several folders: which of them have all of the log
view/  index/                                           derived: may be deleted, the next start builds them again
"""

import fcntl
import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path

import msgspec

from topics.disk import OsDisk

FORMAT_VERSION = 1
_FORMAT = "format.json"
ANSWER_S = 30.0  # that a disk has to open its folder: it may have to spin up
log_ = logging.getLogger(__name__)


class _Format(msgspec.Struct):
    version: int


class FolderRefused(Exception):
    """The data folder cannot be used; the text says why and what to do."""


class FolderUnusable(FolderRefused):
    """Its disk fails, or is not there."""


class DataFolder:
    def __init__(self, path: Path) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FolderUnusable(f"data folder {path} cannot be used: {error.strerror}") from error
        self.path = path
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderRefused(f"data folder {path} is held by another process; stop that one first") from None
        try:
            self._check_format()
        except OSError as error:
            self.close()
            raise FolderUnusable(f"data folder {path} cannot be used: {error.strerror}") from error

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
        except ValueError as error:
            raise FolderRefused(f"{path} cannot be read ({error}); restore it from a copy") from error
        if version > FORMAT_VERSION:
            raise FolderRefused(
                f"data folder {self.path} has format {version}, this release knows {FORMAT_VERSION}; upgrade bucketlog"
            )

    def close(self) -> None:
        os.close(self._lock)


def _opened(path: Path) -> DataFolder:
    """In a thread that may be left behind: a disk can hang in any call. Raises `FolderRefused`."""
    found: Future[DataFolder] = Future()

    def open_() -> None:
        try:
            found.set_result(DataFolder(path))
        except Exception as error:  # noqa: BLE001 - handed on
            found.set_exception(error)

    threading.Thread(target=open_, daemon=True).start()
    try:
        return found.result(ANSWER_S)
    except TimeoutError:
        raise FolderUnusable(f"data folder {path} cannot be used: its disk gave no answer for {ANSWER_S:g} s") from None


def usable(paths: Sequence[Path]) -> list[DataFolder]:
    """Of several those that can be used, in their order; of the others it is told. Raises `FolderRefused`."""
    folders: list[DataFolder] = []
    unusable: list[FolderUnusable] = []
    for path in paths:
        try:
            folders.append(_opened(path))
        except FolderUnusable as refusal:
            unusable.append(refusal)
    if not folders:
        raise unusable[0]
    for each in unusable:
        log_.critical("%s; the store starts without it: replace the disk, and start again", each)
    return folders
