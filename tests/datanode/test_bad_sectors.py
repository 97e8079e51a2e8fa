"""A disk that cannot be read in one place: a record is damaged, and nothing else stops for it."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from datanode import layout
from datanode.compaction import Compactor
from datanode.index import BlobIndex
from datanode.scrub import Scrubber
from datanode.store import NewBlob, VolumeStore
from tests.datanode.stores import blob, names, opened, put, put_all, put_large, read
from tests.disks.faulty import FaultyDisk
from tests.simulation.disk import SimulatedDisk
from tests.simulation.table import MemoryTable
from topics.disk import OsDisk

VOLUME_BYTES = 256 << 10


def path_of(store: VolumeStore, number: int) -> tuple[str, int]:
    """A blob's file, and where its header is in it."""
    place = store.find(0, blob(number))
    assert place is not None
    return f"volumes/{place.volume:08}.vol", place.offset


def break_payload(disk: FaultyDisk, store: VolumeStore, number: int) -> None:
    path, at = path_of(store, number)
    disk.break_sector(path, at + layout.HEADER_BYTES + 5_000)


@pytest.mark.parametrize("size", [20_000, 400_000])  # which is read on the loop, and in a thread
def test_a_read_says_that_the_blob_is_damaged(tmp_path: Path, size: int) -> None:
    disk = FaultyDisk(OsDisk(tmp_path))
    with opened(tmp_path, disk=disk) as store:
        data = {number: os.urandom(size) for number in range(4)}
        for number, each in data.items():
            put_large(store, number, each)
        break_payload(disk, store, 1)
        with pytest.raises(layout.BlobUnreadable, match="cannot be read"):
            read(store, 1, size)
        assert all(read(store, number, size) == each for number, each in data.items() if number != 1)
        end = asyncio.run(store.read(0, blob(1), size - 100, 100)) if size > layout.BLOCK_BYTES else data[1][-100:]
        assert end == data[1][-100:]  # a part of it may still be read


def test_a_scrub_reads_on_and_tells(tmp_path: Path) -> None:
    disk = FaultyDisk(OsDisk(tmp_path))
    with opened(tmp_path, disk=disk) as store:
        for number in range(1_000):
            put(store, number, os.urandom(10_000))
        for number in (3, 500):
            break_payload(disk, store, number)
        found: list[bytes] = []
        scrubber = Scrubber(store, lambda _, name: found.append(name), bytes_per_s=1e12)
        asyncio.run(scrubber.scrub())
        assert (found, scrubber.verified) == ([blob(3), blob(500)], 1_000)


def test_compaction_copies_what_can_be_read_and_goes_on_with_the_other_volumes(tmp_path: Path) -> None:
    disk = FaultyDisk(OsDisk(tmp_path))
    with opened(tmp_path, VOLUME_BYTES, disk) as store:
        data = {number: os.urandom(7_000) for number in range(400)}
        for number, each in data.items():
            put(store, number, each)
        store.release(0, [blob(number) for number in data if number % 3])
        before = set(store.volumes.all)
        break_payload(disk, store, 0)
        kept = store.find(0, blob(0))
        told: list[bytes] = []
        asyncio.run(Compactor(store, lambda _, name: told.append(name), bytes_per_s=1e12).compact())
        assert kept is not None
        assert told == [blob(0)]
        assert before & set(store.volumes.all) == {kept.volume}
        assert store.find(0, blob(0)) == kept
        assert all(read(store, number, 7_000) == data[number] for number in data if number % 3 == 0 and number)


def test_compaction_that_cannot_write_keeps_what_it_has(tmp_path: Path) -> None:
    disk = FaultyDisk(OsDisk(tmp_path))
    with opened(tmp_path, VOLUME_BYTES, disk) as store:
        data = {number: os.urandom(7_000) for number in range(200)}
        for number, each in data.items():
            put(store, number, each)
        store.release(0, [blob(number) for number in data if number % 2])
        for left in range(0, 60, 3):
            disk.left, disk.left_errno = left, 5
            try:
                asyncio.run(Compactor(store, bytes_per_s=1e12).compact())
            except OSError as error:
                assert "by the test's wish" in str(error)
            assert all(read(store, number, 7_000) == data[number] for number in data if number % 2 == 0)
    with opened(tmp_path, VOLUME_BYTES) as store:
        assert all(read(store, number, 7_000) == data[number] for number in data if number % 2 == 0)


def in_memory(count: int) -> tuple[FaultyDisk, dict[int, bytes], VolumeStore]:
    rng = random.Random(1)
    disk = FaultyDisk(SimulatedDisk(rng))
    store = VolumeStore(disk, BlobIndex(MemoryTable()), volume_bytes=VOLUME_BYTES, reserve_bytes=0)
    data = {number: rng.randbytes(rng.choice([100, 3_000, 20_000])) for number in range(count)}
    for number, each in data.items():
        put_all(store, [NewBlob(0, blob(number), 3, each)])
    asyncio.run(store.sync())
    return disk, data, store


@pytest.mark.parametrize("seed", range(40))
def test_a_start_without_an_index_finds_all_but_what_the_bad_sectors_hit(seed: int) -> None:
    disk, data, first = in_memory(100)
    rng = random.Random(seed)
    (path,) = rng.sample([f"volumes/{name}" for name in disk.names("volumes")], 1)
    size = disk.open(path).size()
    at = rng.randrange(size) // 4096 * 4096
    disk.break_sector(path, at)
    places = {number: path_of(first, number) for number in data}
    hit = {
        number
        for number, (file, start) in places.items()
        if file == path and start < at + 4096 and start + layout.record_bytes(len(data[number])) > at
    }
    store = VolumeStore(disk, BlobIndex(MemoryTable()), volume_bytes=VOLUME_BYTES, reserve_bytes=0)
    found = {number for number in data if store.has(0, blob(number))}
    assert set(data) - found <= hit
    assert disk.open(path).size() == size
    for number in found - hit:
        assert read(store, number, len(data[number])) == data[number]
    damaged = {number for number in hit & found if places[number][1] // 4096 * 4096 != at}
    for number in damaged:  # its header is whole: a damaged blob is better known than forgotten
        with pytest.raises(layout.BlobCorrupt):
            read(store, number, len(data[number]))
    disk.heal()  # as when the drive reads it at another try
    again = VolumeStore(disk, BlobIndex(MemoryTable()), volume_bytes=VOLUME_BYTES, reserve_bytes=0)
    assert all(read(again, number, len(each)) == each for number, each in data.items())


def test_a_volume_that_cannot_be_opened_is_lost_and_its_number_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk, data, first = in_memory(100)
    last = max(first.volumes.all)
    lost = {number for number in data if path_of(first, number)[0] == f"volumes/{last:08}.vol"}
    honest = disk.open

    def open_(path: str) -> object:
        if path == f"volumes/{last:08}.vol":
            raise OSError(5, "by the test's wish")
        return honest(path)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "open", open_)
        store = VolumeStore(disk, first.index, volume_bytes=VOLUME_BYTES, reserve_bytes=0)
        assert store.lost == {0: len(lost)}
        for number in range(200, 300):
            put(store, number, bytes(5_000))
    asyncio.run(store.sync())
    again = VolumeStore(disk, store.index, volume_bytes=VOLUME_BYTES, reserve_bytes=0)
    assert set(names(again)) == {blob(number) for number in [*data, *range(200, 300)]}
    assert all(read(again, number, len(each)) == each for number, each in data.items())
