"""The object lookup table: group and blob id → place. A cache of the volumes' own headers, rebuilt by scanning them.

    b group u16 | id 16  volume u32 | offset u64 | length u64 | partition u8
    s volume u32         offset u64 below which the volume is synced and its records are all indexed
                         offset u64 where its last synced record ended: the file was that long
    l volume u32         bytes u64 of the volume's records that are indexed: what is not garbage in it
    h volume u32         bytes u64 that were given back to the file system: no garbage either; with the positions
    c                    group u16 | id 16 up to which the scrub under way has read
    p group u16          offset u64 below which all of the group's partition of `writes` is in synced volumes
    v                    version of this format

big endian, so that a prefix scan gives a group's blobs in the order of their ids. The live bytes change in one batch with
the entries they count, so a start need not scan the index (25 million blobs: half a minute) to know the garbage.
Version 1 had rows `i id` without group and partition; they are converted when the index is opened.
"""

import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from datanode import layout

VERSION = b"\2"
CONVERTED_AT_ONCE = 10_000  # rows: a batch of 1 MB
_PLACE_1 = struct.Struct(">IQQ")
_PLACE = struct.Struct(">IQQB")
_SYNCED = struct.Struct(">QQ")  # earlier: only the first
_NAME = struct.Struct(">cH16s")


class Place(NamedTuple):
    volume: int
    offset: int  # of the record's header
    length: int  # of the payload
    partition: int = layout.UNKNOWN_PARTITION


class Synced(NamedTuple):
    """How far a volume was synced when the groups' positions were stored last."""

    below: int  # all records are indexed: a start looks for others from here on
    end: int  # of the last one; those that still arrive may lie between


class Entry(NamedTuple):
    group: int
    blob: bytes
    place: Place


class Change(NamedTuple):
    group: int
    blob: bytes
    old: Place | None  # as it is in the index
    new: Place | None


class Table(Protocol):
    """An ordered map of bytes with atomic batches; RocksDB's, or a test's."""

    @property
    def damage(self) -> OSError | None:
        """What was found damaged: only a start mends it."""
        ...

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
        if table.get(b"v") != VERSION:
            self._convert()
        self._live = {int.from_bytes(key[1:], "big"): int.from_bytes(row, "big") for key, row in table.scan(b"l", b"m")}

    @property
    def damage(self) -> OSError | None:
        return self._table.damage

    def find(self, group: int, blob: bytes) -> Place | None:
        row = self._table.get(_NAME.pack(b"b", group, blob))
        return None if row is None else Place(*_PLACE.unpack(row))

    def change(self, changes: Sequence[Change]) -> None:
        """In one batch, with the live bytes of the volumes concerned."""
        rows: dict[bytes, bytes | None] = {}
        more = dict[int, int]()
        for group, blob, old, new in changes:
            rows[_NAME.pack(b"b", group, blob)] = new and _PLACE.pack(*new)
            if old is not None:
                more[old.volume] = more.get(old.volume, 0) - layout.record_bytes(old.length)
            if new is not None:
                more[new.volume] = more.get(new.volume, 0) + layout.record_bytes(new.length)
        live = {volume: self.live_bytes(volume) + size for volume, size in more.items()}
        rows.update(_count_rows(b"l", live))
        self._table.commit(rows)
        self._live.update(live)

    def live_bytes(self, volume: int) -> int:
        return self._live.get(volume, 0)

    def entries(self, group: int = 0, after: bytes = b"", until: int = 0xFFFF) -> Iterator[Entry]:
        """In order of group and id, from above `after` in `group` to the end of group `until`."""
        start = b"b" + group.to_bytes(2, "big") + (after + b"\0" if after else b"")
        end = b"b" + (until + 1).to_bytes(2, "big") if until < 0xFFFF else b"c"
        for key, row in self._table.scan(start, end):
            _, group_, blob = _NAME.unpack(key)
            yield Entry(group_, blob, Place(*_PLACE.unpack(row)))

    def page(self, group: int, after: bytes, limit: int, until: int = 0xFFFF) -> list[Entry]:
        return list(islice(self.entries(group, after, until), limit))

    def groups(self) -> set[int]:
        """Those with a blob or a position."""
        found = {int.from_bytes(key[1:], "big") for key, _ in self._table.scan(b"p", b"q")}
        group = 0
        while group <= 0xFFFF and (first := self.page(group, b"", 1)):
            found.add(first[0].group)
            group = first[0].group + 1
        return found

    def volumes(self) -> set[int]:
        """Those that the index knows of."""
        rows = [*self._table.scan(b"l", b"m"), *self._table.scan(b"s", b"t")]
        return {int.from_bytes(key[1:], "big") for key, _ in rows}

    def synced(self, volume: int) -> Synced:
        row = self._table.get(_volume_key(b"s", volume)) or bytes(8)
        return Synced(int.from_bytes(row[:8], "big"), int.from_bytes(row[-8:], "big"))

    def hole_bytes(self, volume: int) -> int | None:
        """None where nobody has counted them."""
        row = self._table.get(_volume_key(b"h", volume))
        return None if row is None else int.from_bytes(row, "big")

    def position(self, group: int) -> int | None:
        row = self._table.get(_group_key(group))
        return None if row is None else int.from_bytes(row, "big")

    def put_synced(
        self,
        volumes: Mapping[int, Synced],
        positions: Mapping[int, int],
        hole_bytes: Mapping[int, int],
    ) -> None:
        rows: dict[bytes, bytes | None] = {_volume_key(b"s", number): _SYNCED.pack(*at) for number, at in volumes.items()}
        rows |= {_group_key(group): at.to_bytes(8, "big") for group, at in positions.items()}
        self._table.commit(rows | _count_rows(b"h", hole_bytes))

    def scrubbed(self) -> tuple[int, bytes]:
        """Group and blob up to which the scrub under way has read."""
        row = self._table.get(b"c") or bytes(2)
        return int.from_bytes(row[:2], "big"), row[2:]

    def put_scrubbed(self, group: int, blob: bytes) -> None:
        self._table.commit({b"c": group.to_bytes(2, "big") + blob})

    def forget_position(self, group: int) -> None:
        self._table.commit({_group_key(group): None})

    def forget_volume(self, volume: int) -> None:
        """One in which nothing is indexed."""
        self._table.commit({_volume_key(kind, volume): None for kind in (b"s", b"l", b"h")})
        self._live.pop(volume, None)

    def sync(self) -> None:
        self._table.sync()

    def close(self) -> None:
        self._table.close()

    def _convert(self) -> None:
        """From version 1, in batches; one that was broken off goes on."""
        while rows := list(islice(self._table.scan(b"i", b"j"), CONVERTED_AT_ONCE)):
            changes: dict[bytes, bytes | None] = {key: None for key, _ in rows}
            for key, row in rows:
                changes[_NAME.pack(b"b", 0, key[1:])] = _PLACE.pack(*_PLACE_1.unpack(row), layout.UNKNOWN_PARTITION)
            self._table.commit(changes)
        live = Counter[int]()
        for entry in self.entries():
            live[entry.place.volume] += layout.record_bytes(entry.place.length)
        self._table.commit(_count_rows(b"l", live) | {b"v": VERSION})


def _count_rows(kind: bytes, counts: Mapping[int, int]) -> dict[bytes, bytes | None]:
    return {_volume_key(kind, volume): max(0, size).to_bytes(8, "big") for volume, size in counts.items()}


def _volume_key(kind: bytes, volume: int) -> bytes:
    return kind + volume.to_bytes(4, "big")


def _group_key(group: int) -> bytes:
    return b"p" + group.to_bytes(2, "big")
