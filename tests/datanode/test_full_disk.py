"""A disk that is nearly full, or full: the store gives and takes nothing, and comes back when there is room."""

import asyncio
import errno
import os
import random
from pathlib import Path

import pytest

from datanode.compaction import Compactor
from datanode.index import BlobIndex
from datanode.space import RESERVE_BYTES_MAX, Space
from datanode.store import DiskFull, VolumeStore
from tests.datanode.stores import blob, names, opened, put, put_large, read
from tests.disks.faulty import FaultyDisk
from tests.simulation.disk import SimulatedDisk
from tests.simulation.table import MemoryTable
from topics.disk import OsDisk


def test_the_reserve_is_never_more_than_a_share_of_the_disk(tmp_path: Path) -> None:
    disk = SimulatedDisk(random.Random(1))
    assert Space(disk).reserve_bytes == RESERVE_BYTES_MAX
    disk.capacity_bytes = 1 << 30
    assert Space(disk).reserve_bytes == (1 << 30) // 20
    real = OsDisk(tmp_path)
    assert 0 < real.free_bytes() <= real.total_bytes()
    real.close()


def test_below_the_reserve_the_store_is_read_only_until_there_is_room_again() -> None:
    disk = SimulatedDisk(random.Random(1))
    store = VolumeStore(disk, BlobIndex(MemoryTable()), reserve_bytes=100_000)
    put(store, 1, b"first")
    used = disk.capacity_bytes - disk.free_bytes()

    def leave(free: int) -> None:
        disk.capacity_bytes = used + free

    leave(100_000)
    assert not store.is_read_only
    with pytest.raises(DiskFull):
        store.create(0, blob(2), 3, 10_000)  # it would not fit
    assert store.is_read_only  # who places blobs must hear of it
    leave(150_000)
    assert not store.is_read_only
    leave(99_999)
    assert store.is_read_only
    with pytest.raises(DiskFull) as told:
        put(store, 2, b"second")
    assert told.value.errno == errno.ENOSPC
    with pytest.raises(DiskFull):
        store.create(0, blob(2), 3, 1)
    assert read(store, 1, 5) == b"first"
    put(store, 1, b"first")  # is here
    leave(149_999)
    assert store.is_read_only
    leave(150_000)
    put(store, 2, b"second")
    leave(0)
    store.release(0, [blob(1)])
    asyncio.run(store.sync())
    assert names(store) == [blob(2)]


def test_blobs_that_are_arriving_count() -> None:
    disk = SimulatedDisk(random.Random(1))
    disk.capacity_bytes = 1_000_000
    store = VolumeStore(disk, BlobIndex(MemoryTable()), reserve_bytes=100_000)
    first = store.create(0, blob(1), 3, 800_000)
    with pytest.raises(DiskFull):
        store.create(0, blob(2), 3, 200_000)
    asyncio.run(first.abort())
    store.create(0, blob(2), 3, 200_000)


@pytest.mark.parametrize("left", range(8))
def test_a_disk_that_fails_costs_only_what_it_refused(tmp_path: Path, left: int) -> None:
    payloads = {number: os.urandom(3_000 if number % 2 else 300_000) for number in range(12)}
    disk = FaultyDisk(OsDisk(tmp_path))
    with opened(tmp_path, disk=disk) as store:
        put(store, 100, b"before")
        asyncio.run(store.sync())
        disk.left = left
        failures = 0
        for number, data in payloads.items():
            try:
                (put if number % 2 else put_large)(store, number, data)
            except DiskFull:
                failures += 1
        assert failures == 1
        disk.left = None
        for number, data in payloads.items():  # as the log brings them again
            put(store, number, data)
        asyncio.run(Compactor(store).compact())  # a volume that could not be synced is not trusted any more
        asyncio.run(store.sync())
    with opened(tmp_path) as store:
        assert all(read(store, number, len(data)) == data for number, data in payloads.items())
        assert read(store, 100, 6) == b"before"
