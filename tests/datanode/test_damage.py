"""What a bad disk does to volume files: never a wrong byte, and never a loss of more than what it hit."""

import asyncio
import copy
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from datanode import layout
from datanode.compaction import Compactor
from datanode.index import BlobIndex
from datanode.scrub import Scrubber
from datanode.store import NewBlob, VolumeStore
from tests.datanode.stores import (
    VOLUME_BYTES,
    Payloads,
    blob,
    failing,
    names,
    opened,
    put,
    put_all,
    read,
    volume_of,
    volumes,
)
from tests.flips import flip
from tests.simulation.disk import SimulatedDisk
from tests.simulation.table import MemoryTable

FLIPS = 300


def small_store(rng: random.Random) -> tuple[SimulatedDisk, MemoryTable, Payloads]:
    disk, table = SimulatedDisk(rng), MemoryTable()
    store = VolumeStore(disk, BlobIndex(table), volume_bytes=64 << 10)
    payloads: Payloads = {}
    for number in range(30):
        name, size = (number % 3, blob(number)), rng.choice([0, 1, 100, 3_000, 20_000])
        payloads[name] = rng.randbytes(size) if number != 7 else rng.randbytes(150_000)
        put_all(store, [NewBlob(*name, 3, payloads[name])])
    for number in (2, 11, 20):
        store.release(number % 3, [blob(number)])
        del payloads[number % 3, blob(number)]
    asyncio.run(store.sync())
    return disk, table, payloads


def as_it_is(table: MemoryTable) -> MemoryTable:
    return table


def unsettled(table: MemoryTable) -> MemoryTable:
    table.commit({key: None for key, _ in table.scan(b"s", b"t")})
    return table


def lost(_: MemoryTable) -> MemoryTable:
    return MemoryTable()


@pytest.mark.parametrize("index", [as_it_is, unsettled, lost])
def test_a_flipped_bit_anywhere_costs_one_blob_at_most(index: Callable[[MemoryTable], MemoryTable]) -> None:
    original, original_table, payloads = small_store(random.Random(1))
    seen = 0
    for seed in range(FLIPS):
        rng = random.Random(seed)
        disk, table = copy.deepcopy(original), index(copy.deepcopy(original_table))
        files = [disk.open(f"volumes/{name}") for name in disk.names("volumes")]
        (file,) = rng.choices(files, [file.size() for file in files])
        at = rng.randrange(file.size())
        file.write(bytes([file.read(1, at)[0] ^ 1 << rng.randrange(8)]), at)
        failed = set[tuple[int, bytes]]()
        for opening in range(3):
            store = VolumeStore(disk, BlobIndex(table), volume_bytes=64 << 10)
            failed |= failing(store, payloads)
            assert len(failed) <= 1, (seed, opening, failed)
            assert store.lost == {}
            put_all(store, [NewBlob(9, blob(1_000 + opening), 3, rng.randbytes(5_000))])  # over nothing that is live
            asyncio.run(store.sync())
        seen += len(failed)
    assert seen > FLIPS // 2  # the bits that were flipped are of live records mostly


def test_a_flipped_bit_is_told_by_scrub_and_left_alone_by_compaction() -> None:
    original, original_table, payloads = small_store(random.Random(1))
    told_of = 0
    for seed in range(FLIPS // 3):
        rng = random.Random(seed)
        disk, table = copy.deepcopy(original), copy.deepcopy(original_table)
        store = VolumeStore(disk, BlobIndex(table), volume_bytes=64 << 10, reserve_bytes=0)
        file = disk.open(f"volumes/{rng.choice(disk.names('volumes'))}")
        at = rng.randrange(file.size())
        file.write(bytes([file.read(1, at)[0] ^ 1 << rng.randrange(8)]), at)
        for number in store.volumes.all:
            store.volumes.seal(number)
        told, damaged = set[tuple[int, bytes]](), failing(store, payloads)
        scrubber = Scrubber(store, lambda *name, told=told: told.add(name), bytes_per_s=1e12)
        asyncio.run(scrubber.scrub())
        assert damaged <= told  # and headers, which are not read where the index knows the place
        asyncio.run(Compactor(store, lambda *_: None, bytes_per_s=1e12).compact())
        assert failing(store, payloads) == damaged
        told_of += len(told)
    assert told_of > FLIPS // 10


def test_a_flipped_bit_is_not_served_by_an_open_store() -> None:
    disk, table, payloads = small_store(random.Random(1))
    store = VolumeStore(disk, BlobIndex(table), volume_bytes=64 << 10)
    rng = random.Random(2)
    for name in disk.names("volumes") * (FLIPS // 10):
        file = disk.open(f"volumes/{name}")
        at, mask = rng.randrange(file.size()), 1 << rng.randrange(8)
        file.write(bytes([file.read(1, at)[0] ^ mask]), at)
        assert len(failing(store, payloads)) <= 1
        file.write(bytes([file.read(1, at)[0] ^ mask]), at)
    assert failing(store, payloads) == set()


def test_a_file_that_lost_its_end_is_told_of_once(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(1, 41):
            put_all(store, [NewBlob(number % 2, blob(number), 3, bytes([number]) * 10_000)])
        asyncio.run(store.sync())
    path = volume_of(tmp_path, 1)
    held = [number for number in range(1, 41) if volume_of(tmp_path, number) == path]
    os.truncate(path, path.stat().st_size - 15_000)
    with opened(tmp_path) as store:
        assert sum(store.lost.values()) == 2
        assert store.lost == {held[-1] % 2: 2}  # four volumes in turn: all of one volume are of one group
        assert sorted(names(store, 0) + names(store, 1)) == [blob(n) for n in range(1, 41) if n not in held[-2:]]
        for number in held[-2:]:
            put(store, number, b"again", number % 2)
        put(store, 100, b"new")
        asyncio.run(store.sync())
    shutil.rmtree(tmp_path / "index")
    for _ in range(2):
        with opened(tmp_path) as store:
            assert store.lost == {}
            assert read(store, held[-1], 5, held[-1] % 2) == b"again"
            assert all(read(store, n, 10_000, n % 2) == bytes([n]) * 10_000 for n in range(1, 41) if n not in held[-2:])


def test_a_file_that_is_missing_is_told_of_once(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(40):
            put(store, number, bytes(1_000), number // 20)
        asyncio.run(store.sync())
        put(store, 50, bytes(1_000), 9)  # not synced; that the log has it still is not known to the volumes
    path = volume_of(tmp_path, 50)
    path.unlink()
    with opened(tmp_path) as store:
        assert store.lost == {0: 5, 1: 5, 9: 1}
        assert len(store.blobs(0)) == len(store.blobs(1)) == 15
        assert store.groups() == {0, 1}
        assert store.usage().live_bytes == 30 * layout.record_bytes(1_000)
    with opened(tmp_path) as store:
        assert store.lost == {}


def test_an_index_that_is_lost_is_no_loss(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(40):
            put(store, number, bytes([number]) * 1_000, number % 3)
        asyncio.run(store.sync({1: 77}))
        usage = store.usage()
    shutil.rmtree(tmp_path / "index")
    with opened(tmp_path) as store:
        assert store.lost == {}
        assert store.position(1) is None  # so that the log brings what it has again
        assert all(read(store, number, 1_000, number % 3) == bytes([number]) * 1_000 for number in range(40))
        assert store.usage()[:3] == usage[:3]


def test_nothing_below_the_synced_position_is_cut(tmp_path: Path) -> None:
    with opened(tmp_path, volume_bytes=64 << 20) as store:
        for number in range(40):
            put(store, number, os.urandom(10_000))
        asyncio.run(store.sync())
    sizes = [path.stat().st_size for path in volumes(tmp_path)]
    for path in volumes(tmp_path):
        for at in range(0, path.stat().st_size, 5_000):
            flip(path, at)
        flip(path, 0)
    for _ in range(2):
        with opened(tmp_path, volume_bytes=64 << 20):
            assert [path.stat().st_size for path in volumes(tmp_path)] == sizes


def test_of_two_whole_records_the_indexed_one_stays(tmp_path: Path) -> None:
    """As a crash between a copy and the switch of the index leaves them."""
    data = os.urandom(VOLUME_BYTES // 8)
    for with_index in (True, False):
        folder = tmp_path / str(with_index)
        with opened(folder) as store:
            put(store, 1, data, 4)
            asyncio.run(store.sync())
            place = store.find(4, blob(1))
            copied = store.volumes.next(1)
            copied.append(layout.record(4, blob(1), 3, data), [4])
        if not with_index:
            shutil.rmtree(folder / "index")
        for _ in range(2):
            with opened(folder) as store:
                assert store.find(4, blob(1)) == place
                assert read(store, 1, len(data), 4) == data
                assert store.usage().live_bytes == layout.record_bytes(len(data))
                assert store.usage().garbage_bytes < 20_000  # parts of blocks
                asyncio.run(store.sync())


def test_of_two_records_none_is_given_up_before_the_other_is_synced() -> None:
    """A killed process left the first unsynced; its index is lost; the next one chooses, and the power fails."""
    for seed in range(50):
        disk = SimulatedDisk(random.Random(seed))
        store = VolumeStore(disk, BlobIndex(MemoryTable()))
        put_all(store, [NewBlob(4, blob(1), 3, bytes(5_000))])
        other = store.volumes.next(1)
        other.append(layout.record(4, blob(1), 3, bytes(5_000)), [4])
        other.sync_now()
        VolumeStore(disk, BlobIndex(MemoryTable()))
        disk.power_cut()
        store = VolumeStore(disk, BlobIndex(MemoryTable()))
        assert failing(store, {(4, blob(1)): bytes(5_000)}) == set()
