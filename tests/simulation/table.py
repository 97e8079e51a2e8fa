"""The blob index of a simulated node: a view's map in memory that loses its last commits in a power cut."""

import errno
from collections.abc import Iterator, Mapping

from processors.memory import MemoryView


class MemoryTable(MemoryView):
    """Knobs: `is_frozen`, as the disk's: its process is dead; `fails`: nothing can be read or written for now."""

    is_frozen = False
    fails = False
    damage = None
    rows_max = 0  # that were written at once

    def get(self, key: bytes) -> bytes | None:
        self._check()
        return super().get(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._check()
        return super().scan(start, end)

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        self._check()
        self.rows_max = max(self.rows_max, len(changes))
        if not self.is_frozen:
            super().commit(changes)

    def sync(self) -> None:
        self._check()
        self._undo.clear()

    def _check(self) -> None:
        """Raises `OSError`."""
        if self.fails:
            raise OSError(errno.EIO, "Input/output error (by the test's wish)")
