"""How much room the disk has left, and when nothing more is taken: index, log and compaction need some themselves."""

import errno

from topics.disk import Disk

RESERVE_BYTES_MAX = 1 << 30
RESERVE_SHARE = 0.05  # of a small file system
HYSTERESIS = 1.5  # times the reserve must be free before a full disk takes writes again
COMPACTION_SHARE = 0.25  # of the reserve is kept even from compaction
MEASURE_SHARE = 1 / 64  # of the reserve is written before the disk is asked again: asking costs as much as a small write
_FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFull(OSError):
    """The disk has no room but its reserve: the store gives, and takes nothing."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, "No space left for blobs")


def is_full(error: OSError) -> bool:
    """Whether there was no room, and nothing worse."""
    return error.errno in _FULL


class Space:
    def __init__(self, disk: Disk, reserve_bytes: int | None = None) -> None:
        default = min(RESERVE_BYTES_MAX, int(disk.total_bytes() * RESERVE_SHARE))
        self.reserve_bytes = default if reserve_bytes is None else reserve_bytes
        self.watched = _Watched(self)
        self._disk = disk
        self._is_full = False
        self._unmeasured = 0  # bytes that may be taken before the disk is asked again

    def free_bytes(self) -> int:
        """None where the disk does not even say."""
        try:
            return self._disk.free_bytes()
        except OSError:
            return 0

    @property
    def is_read_only(self) -> bool:
        needed = self.reserve_bytes * (HYSTERESIS if self._is_full else 1)
        self._is_full = self.free_bytes() < needed
        self._unmeasured = 0 if self._is_full else int(self.reserve_bytes * MEASURE_SHARE)
        return self._is_full

    def told_full(self) -> None:
        """By the system."""
        self._is_full, self._unmeasured = True, 0

    def take(self, adding: int) -> None:
        """For small writes. Raises `DiskFull`."""
        if self._unmeasured < adding and self.is_read_only:
            raise DiskFull
        self._unmeasured -= adding

    def require(self, adding: int) -> None:
        """Raises `DiskFull` where `adding` bytes would use the reserve."""
        if self.is_read_only or self.free_bytes() - adding < self.reserve_bytes:
            self.told_full()  # until there is room for more than that: else nobody would hear of it
            raise DiskFull

    def require_for_compaction(self, adding: int) -> None:
        if self.free_bytes() - adding < self.reserve_bytes * COMPACTION_SHARE:
            raise DiskFull


class _Watched:
    """`with space.watched:` what the system says of a full disk is `DiskFull` from there on."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and is_full(error) and not isinstance(error, DiskFull):
            self._space.told_full()
            raise DiskFull from error
