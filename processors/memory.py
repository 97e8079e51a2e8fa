"""The memory adapter of `View`, for tests and the simulation; `lose_last` is what a power cut does to it."""

import bisect
from collections.abc import Iterator, Mapping


class MemoryView:
    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._undo: list[dict[bytes, bytes | None]] = []

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        keys = self._keys[bisect.bisect_left(self._keys, start) : bisect.bisect_left(self._keys, end)]
        return iter([(key, self.rows[key]) for key in keys])

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        self._undo.append({key: self.rows.get(key) for key in changes})
        self._put(changes)

    def clear(self) -> None:
        self.commit(dict.fromkeys(self.rows))

    def close(self) -> None:
        """Nothing to let go of: the rows stay, as files would."""

    def lose_last(self, batches: int) -> None:
        for _ in range(min(batches, len(self._undo))):
            self._put(self._undo.pop())

    def _put(self, changes: Mapping[bytes, bytes | None]) -> None:
        for key, value in changes.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value
        self._keys = sorted(self.rows)
