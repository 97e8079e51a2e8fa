"""The `View` port: an ordered map of bytes, written in atomic batches. Adapters: `memory` (tests), `topics.rocksdb`.

A view is derived from the log, so a batch need not survive a power cut; but batches are lost only from the end, and each
is there whole or not at all.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol


class Readable(Protocol):
    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < end, in the order of the keys' bytes."""
        ...


class View(Readable, Protocol):
    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Put (or, for None, delete) all keys in one atomic batch."""
        ...

    def clear(self) -> None:
        """Delete all keys."""
        ...

    def close(self) -> None: ...


class Overlay:
    """Changes not yet committed, over a view: what a batch of decisions is decided against."""

    def __init__(self, base: Readable) -> None:
        self._base = base
        self.changes: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        if key in self.changes:
            return self.changes[key]
        return self._base.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.changes[key] = value

    def delete(self, key: bytes) -> None:
        self.changes[key] = None

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        changed = sorted(key for key in self.changes if start <= key < end)
        position = 0
        for key, value in self._base.scan(start, end):
            while position < len(changed) and changed[position] < key:
                yield from self._own(changed[position])
                position += 1
            if position < len(changed) and changed[position] == key:
                yield from self._own(key)
                position += 1
            else:
                yield key, value
        for key in changed[position:]:
            yield from self._own(key)

    def _own(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        value = self.changes[key]
        if value is not None:
            yield key, value
