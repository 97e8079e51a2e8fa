"""How much room the disk has left, and when nothing more is taken: index, log and compaction need some themselves."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from topics.disk import Disk

RESERVE_BYTES_MAX = 1 << 30
RESERVE_SHARE = 0.05  # of a small file system
HYSTERESIS = 1.5  # times the reserve must be free before a full disk takes writes again
COMPACTION_SHARE = 0.25  # of the reserve is kept even from compaction
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(OSError):
    """The disk has no room but its reserve: the store gives, and takes nothing."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, "No space left for blobs")


class Space:
    def __init__(self, disk: Disk, reserve_bytes: int | None = None) -> None:
        default = min(RESERVE_BYTES_MAX, int(disk.total_bytes() * RESERVE_SHARE))
        self.reserve_bytes = default if reserve_bytes is None else reserve_bytes
        self._disk = disk
        self._is_full = False

    def free_bytes(self) -> int:
        return self._disk.free_bytes()

    @property
    def is_read_only(self) -> bool:
        needed = self.reserve_bytes * (HYSTERESIS if self._is_full else 1)
        self._is_full = self.free_bytes() < needed
        return self._is_full

    def require(self, adding: int) -> None:
        """Raises `DiskFull` where `adding` bytes would use the reserve."""
        if self.is_read_only or self.free_bytes() - adding < self.reserve_bytes:
            raise DiskFull

    def require_for_compaction(self, adding: int) -> None:
        if self.free_bytes() - adding < self.reserve_bytes * COMPACTION_SHARE:
            raise DiskFull

    @contextmanager
    def watched(self) -> Iterator[None]:
        """What the system says of a full disk is `DiskFull` from here on."""
        try:
            yield
        except OSError as error:
            if error.errno in _FULL and not isinstance(error, DiskFull):
                self._is_full = True
                raise DiskFull from error
            raise
