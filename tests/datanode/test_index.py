"""The blob index: order, live bytes that change with the entries, and the conversion of version 1."""

import struct

from datanode import layout
from datanode.index import BlobIndex, Change, Place, Synced
from tests.datanode.stores import blob
from tests.simulation.table import MemoryTable

PLACE = Place(3, 100, 10, 7)


def put(index: BlobIndex, group: int, number: int, place: Place) -> None:
    index.change([Change(group, blob(number), index.find(group, blob(number)), place)])


def test_a_group_is_listed_in_the_order_of_its_ids() -> None:
    index = BlobIndex(MemoryTable())
    for group in (0, 1, 255, 256, 65_535):
        for number in (300, 2, 1):
            put(index, group, number, PLACE)
    assert index.groups() == {0, 1, 255, 256, 65_535}
    for group in index.groups():
        assert [each.blob for each in index.page(group, b"", 9, group)] == [blob(1), blob(2), blob(300)]
        assert [each.blob for each in index.page(group, blob(1), 1, group)] == [blob(2)]
        assert index.page(group, blob(300), 9, group) == []
    assert [each.group for each in index.entries(256)] == [256] * 3 + [65_535] * 3


def test_live_bytes_follow_the_entries_and_survive() -> None:
    table = MemoryTable()
    index = BlobIndex(table)
    put(index, 0, 1, PLACE)
    put(index, 1, 1, PLACE._replace(length=1000))
    put(index, 1, 1, Place(4, 0, 1000))
    assert (index.live_bytes(3), index.live_bytes(4)) == (layout.record_bytes(10), layout.record_bytes(1000))
    assert BlobIndex(table).live_bytes(4) == layout.record_bytes(1000)
    index.change([Change(1, blob(1), Place(4, 0, 1000), None)])
    assert BlobIndex(table).live_bytes(4) == 0
    assert index.volumes() == {3, 4}
    index.forget_volume(4)
    assert BlobIndex(table).volumes() == {3}


def test_positions_of_groups_and_volumes_are_kept() -> None:
    index = BlobIndex(MemoryTable())
    assert index.position(5) is None
    index.put_synced({1: Synced(1 << 40, 1 << 41)}, {5: 0, 6: 1 << 50}, {1: 7})
    assert (index.position(5), index.position(6), index.synced(1)) == (0, 1 << 50, (1 << 40, 1 << 41))
    assert index.groups() == {5, 6}
    index.forget_position(6)
    assert index.position(6) is None


def test_version_1_is_converted_from_wherever_it_was_broken_off() -> None:
    for converted_before in (0, 3):
        table = MemoryTable()
        table.commit({b"s" + struct.pack(">I", 2): struct.pack(">Q", 5_000)})
        table.commit({b"i" + blob(n): struct.pack(">IQQ", 2, n * 100, 10) for n in range(converted_before, 9)})
        done = {b"b\0\0" + blob(n): struct.pack(">IQQB", 2, n * 100, 10, 255) for n in range(converted_before)}
        table.commit(done)
        index = BlobIndex(table)
        assert [each.place for each in index.entries()] == [Place(2, n * 100, 10, 255) for n in range(9)]
        assert index.live_bytes(2) == 9 * layout.record_bytes(10)
        assert index.synced(2) == (5_000, 5_000)
        assert not list(table.scan(b"i", b"j"))
        index.change([Change(0, blob(1), index.find(0, blob(1)), None)])
        assert BlobIndex(table).live_bytes(2) == 8 * layout.record_bytes(10)
