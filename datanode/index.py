"""The object lookup table: blob id → place. A cache of the volumes' own headers, rebuilt by scanning them.

i id(16)      volume u32 | offset u64 | length u64
s volume u32  offset below which the volume is synced and its records are all indexed
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

_PLACE = struct.Struct(">IQQB")


class Place(NamedTuple):
    volume: int
    offset: int  # of the record's header
    length: int  # of the payload
    partition: int = 255


class Table(Protocol):
    """An ordered map of bytes with atomic batches; RocksDB's, or a test's."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]: ...

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None: ...

    def sync(self) -> None:
        """What was committed survives a power cut."""
        ...

    def close(self) -> None: ...


class BlobIndex:
    def __init__(self, table: Table) -> None:
        self._table = table

    def find(self, blob: bytes) -> Place | None:
        row = self._table.get(b"b" + blob)
        return None if row is None else Place(*_PLACE.unpack(row))

    def put(self, places: Mapping[bytes, Place | None]) -> None:
        self._table.commit({b"b" + blob: place and _PLACE.pack(*place) for blob, place in places.items()})

    def synced_below(self, volume: int) -> int:
        return int.from_bytes(self._table.get(b"s" + volume.to_bytes(4, "big")) or b"", "big")

    def put_synced(self, positions: Mapping[int, int]) -> None:
        self._table.commit({b"s" + volume.to_bytes(4, "big"): at.to_bytes(8, "big") for volume, at in positions.items()})

    def blobs(self, start: bytes = b"") -> Iterator[tuple[bytes, Place]]:
        for key, row in self._table.scan(b"b" + start, b"c"):
            yield key[1:], Place(*_PLACE.unpack(row))

    def position(self, group: int) -> int | None:
        row = self._table.get(b"w" + group.to_bytes(2, "big"))
        return None if row is None else int.from_bytes(row, "big")

    def put_positions(self, positions: Mapping[int, int | None]) -> None:
        self._table.commit(
            {b"w" + g.to_bytes(2, "big"): None if at is None else at.to_bytes(8, "big") for g, at in positions.items()}
        )

    def sync(self) -> None:
        self._table.sync()

    def close(self) -> None:
        self._table.close()
