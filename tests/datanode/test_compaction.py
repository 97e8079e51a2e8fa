"""Compaction: space comes back, nothing is lost, wherever it is broken off."""

import asyncio
import contextlib
import os
import random
import threading
from pathlib import Path

import pytest

from datanode import compaction, layout
from datanode.compaction import Compactor
from datanode.index import BlobIndex
from datanode.store import DiskFull, NewBlob, VolumeStore
from datanode.volume import Volume
from tests.datanode.stores import (
    VOLUME_BYTES,
    Payloads,
    allocated,
    blob,
    failing,
    names,
    opened,
    put,
    put_all,
    put_large,
    read,
    volume_of,
    volumes,
)
from tests.flips import flip
from tests.simulation.disk import SimulatedDisk, SimulatedFile
from tests.simulation.loop import Crash, SimulatedLoop
from tests.simulation.table import MemoryTable

CRASH_VOLUME_BYTES = 16 << 10
SIZES = (100, 2_000, 7_000, 9_000, 100_000, 300_000)


def compact(store: VolumeStore) -> list[tuple[int, bytes]]:
    damaged: list[tuple[int, bytes]] = []
    asyncio.run(Compactor(store, lambda group, name: damaged.append((group, name))).compact())
    return damaged


def mostly_garbage(store: VolumeStore, count: int = 400, size: int = 7_000) -> dict[int, bytes]:
    """Small blobs in all volumes, two of three released."""
    payloads = {number: os.urandom(size) for number in range(count)}
    for number, data in payloads.items():
        put(store, number, data)
    store.release(0, [blob(number) for number in range(count) if number % 3])
    asyncio.run(store.sync())
    return {number: data for number, data in payloads.items() if number % 3 == 0}


def test_garbage_is_given_back_and_what_is_live_stays(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        payloads = mostly_garbage(store)
        put_large(store, 1_001, payloads.setdefault(1_001, os.urandom(300_000)), 0)
        before = allocated(tmp_path)
        assert compact(store) == []
        usage = store.usage()
        assert allocated(tmp_path) < before * 0.7
        assert usage.garbage_bytes < usage.live_bytes * 0.43 + 100_000
        assert all(read(store, number, len(data)) == data for number, data in payloads.items())
        assert names(store) == sorted(map(blob, payloads))
    with opened(tmp_path) as store:
        assert store.usage()._replace(free_bytes=0) == usage._replace(free_bytes=0)
        assert all(read(store, number, len(data)) == data for number, data in payloads.items())


def test_writing_ten_times_the_data_takes_one_and_a_half_times_its_space(tmp_path: Path) -> None:
    rng = random.Random(4)
    with opened(tmp_path) as store:
        sizes: dict[int, int] = {}
        for turn in range(3_000):
            number = rng.randrange(300)
            if number in sizes:
                store.release(0, [blob(number)])
            sizes[number] = rng.choice(SIZES)
            put(store, number, rng.randbytes(sizes[number]))
            if turn % 200 == 199:
                asyncio.run(store.sync())
                compact(store)
        assert store.usage().live_bytes == sum(map(layout.record_bytes, sizes.values()))
        assert allocated(tmp_path) < 1.5 * sum(sizes.values())


def test_a_volume_with_nothing_live_is_just_removed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(80):
            put(store, number, os.urandom(100_000))
        count = len(volumes(tmp_path))
        store.release(0, [blob(number) for number in range(80)])
        compact(store)
        assert count > len(volumes(tmp_path)) <= 4  # the active ones stay
        assert store.usage()[:2] == (len(volumes(tmp_path)), 0)


def test_a_damaged_record_is_told_of_and_stays_with_its_volume(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        payloads = mostly_garbage(store)
        small = volume_of(tmp_path, 3)
        flip(small, small.read_bytes().index(payloads[3]) + 50)
        headless = volume_of(tmp_path, 6)
        flip(headless, headless.read_bytes().index(blob(6)))
        damaged: list[bytes] = []
        compactor = Compactor(store, lambda _, name: damaged.append(name))
        for _ in range(2):
            asyncio.run(compactor.compact())
            assert damaged == [blob(3)]  # told once
        assert small.exists()
        with pytest.raises(layout.BlobCorrupt):
            read(store, 3, 7_000)
        assert all(read(store, number, 7_000) == data for number, data in payloads.items() if number != 3)
        put(store, 3, payloads[3])  # mended, as from a replica
        compact(store)
        assert not small.exists()
        assert read(store, 3, 7_000) == payloads[3]


def test_a_volume_with_an_open_writer_is_left_alone(tmp_path: Path) -> None:
    async def arrive(store: VolumeStore) -> None:
        writer = store.create(0, blob(9_999), 3, 50_000)
        await writer.write(bytes(20_000))
        number = writer._volume.number
        store.release(0, names(store))
        while len(store.volumes._active) > 0:
            store.volumes.seal(store.volumes._active[0])
        await Compactor(store).compact()
        assert list(store.volumes.all) == [number]
        await writer.write(bytes(30_000))
        await writer.commit()
        assert await store.read(0, blob(9_999), 0, 50_000) == bytes(50_000)

    with opened(tmp_path) as store:
        mostly_garbage(store)
        asyncio.run(arrive(store))


def test_a_read_under_way_outlives_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that holds the old file ends on it; one that comes too late asks the index again."""
    honest = Volume.read
    is_reading, may_read = threading.Event(), threading.Event()

    def slow(volume: Volume, name: bytes, region: int, length: int, start: int, size: int, *_: object) -> bytes:
        if size == 300_000 and not is_reading.is_set():
            is_reading.set()
            assert may_read.wait(10)
        return honest(volume, name, region, length, start, size)

    async def race(store: VolumeStore, data: bytes) -> None:
        old = store.find(0, blob(5_000))
        reading = asyncio.create_task(store.read(0, blob(5_000), 0, 300_000))
        await asyncio.to_thread(is_reading.wait, 10)
        await Compactor(store).compact()
        assert old is not None
        assert old.volume not in store.volumes.all
        may_read.set()
        assert await reading == data

    monkeypatch.setattr(Volume, "read", slow)
    monkeypatch.setattr("datanode.store.READ_INLINE_BYTES_MAX", 0)
    data = os.urandom(300_000)
    with opened(tmp_path) as store:
        put_large(store, 5_000, data)
        mostly_garbage(store, 1_000)
        asyncio.run(race(store, data))


def test_what_is_released_while_it_moves_is_gone(tmp_path: Path) -> None:
    async def race(store: VolumeStore) -> None:
        compacting = asyncio.create_task(Compactor(store, bytes_per_s=1e9).compact())
        for number in range(0, 400, 4):
            store.release(0, [blob(number)])
            await asyncio.sleep(0)
        await compacting
        await store.sync()

    with opened(tmp_path) as store:
        payloads = mostly_garbage(store)
        asyncio.run(race(store))
        left = [number for number in payloads if number % 4]
        assert names(store) == [blob(number) for number in left]
        assert all(read(store, number, 7_000) == payloads[number] for number in left)


def test_compaction_goes_on_in_the_reserve_but_not_to_its_end() -> None:
    disk = SimulatedDisk(random.Random(1))
    store = VolumeStore(disk, BlobIndex(MemoryTable()), volume_bytes=VOLUME_BYTES, reserve_bytes=400_000)
    mostly_garbage(store)
    used = disk.capacity_bytes - disk.free_bytes()
    disk.capacity_bytes = used + 90_000
    with pytest.raises(DiskFull):
        compact(store)
    with pytest.raises(DiskFull):
        put(store, 9_999, b"x")
    disk.capacity_bytes = used + 350_000
    assert store.is_read_only
    before = store.usage().garbage_bytes
    # a batch needs less than the reserve has; each volume that goes makes room for the next
    asyncio.run(Compactor(store).compact())
    assert store.usage().garbage_bytes < before / 10
    assert not store.is_read_only


def test_on_a_full_disk_what_needs_no_copies_goes_first() -> None:
    disk = SimulatedDisk(random.Random(1))
    store = VolumeStore(disk, BlobIndex(MemoryTable()), volume_bytes=VOLUME_BYTES, reserve_bytes=100_000)
    payloads = mostly_garbage(store, 600)
    last = max(store.volumes.all) - 4  # sealed
    store.release(0, [entry.blob for entry in store.index.entries() if entry.place.volume == last])
    disk.capacity_bytes -= disk.free_bytes()
    with contextlib.suppress(DiskFull):
        compact(store)
    assert last not in store.volumes.all
    assert all(read(store, number, 7_000) == data for number, data in payloads.items() if store.has(0, blob(number)))


@pytest.mark.parametrize("with_index", [True, False])
def test_a_crash_at_any_step_loses_nothing(with_index: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "BATCH_RECORDS", 4)  # so that a volume takes several
    steps = 0
    while _crash_after(steps, with_index):
        steps += 1
    assert steps > 50  # else it was over at once


def _crash_after(steps: int, with_index: bool) -> bool:
    """Build, compact, crash after so many steps, look; False where compaction was done before."""
    rng = random.Random(steps)
    disk, table = SimulatedDisk(rng), MemoryTable()
    loop = SimulatedLoop(rng, 0.0)
    asyncio.set_event_loop(loop)
    store = VolumeStore(disk, BlobIndex(table), volume_bytes=CRASH_VOLUME_BYTES, reserve_bytes=0)
    payloads = {(number % 2, blob(number)): rng.randbytes(rng.choice((100, 1_000, 4_000))) for number in range(100)}
    payloads[1, blob(281)] = rng.randbytes(290_000)
    for (group, name), data in payloads.items():
        put_all(store, [NewBlob(group, name, 3, data)])
    for group, name in [name for name in payloads if rng.random() < 0.5]:
        store.release(group, [name])
        del payloads[group, name]
    loop.run_until_complete(store.sync())
    loop.steps_left = steps
    has_crashed = False
    try:
        loop.run_until_complete(Compactor(store).compact())
    except Crash:
        has_crashed = True
    disk.is_frozen = True
    loop.end()
    disk.is_frozen = False
    for has_power in (rng.random() < 0.3, rng.random() < 0.3, True):
        if not has_power:
            disk.power_cut()
            table.lose_last(rng.randrange(5))
        table = table if with_index else MemoryTable()
        store = VolumeStore(disk, BlobIndex(table), volume_bytes=CRASH_VOLUME_BYTES, reserve_bytes=0)
        _look(store, payloads)
    compact(store)
    _look(store, payloads)
    return has_crashed


def _look(store: VolumeStore, payloads: Payloads) -> None:
    assert store.lost == {}
    assert failing(store, payloads) == set()
    entries = list(store.index.entries())
    assert {(entry.group, entry.blob) for entry in entries} == payloads.keys()
    for number in store.volumes.all:
        sizes = [layout.record_bytes(entry.place.length) for entry in entries if entry.place.volume == number]
        assert store.index.live_bytes(number) == sum(sizes)


def test_what_a_file_system_allocates_ahead_is_no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """XFS may take twice of what a growing file has (xfs(5), speculative preallocation)."""
    honest = SimulatedFile.allocated_bytes
    monkeypatch.setattr(SimulatedFile, "allocated_bytes", lambda file: 2 * honest(file))
    store = VolumeStore(SimulatedDisk(random.Random(1)), BlobIndex(MemoryTable()), volume_bytes=VOLUME_BYTES)
    for number in range(600):
        put(store, number, bytes(7_000))
    volumes = set(store.volumes.all)
    for _ in range(3):
        compact(store)
    assert set(store.volumes.all) == volumes
    assert store.usage().garbage_bytes == 0


def test_garbage_is_counted_over_a_start() -> None:
    disk, table = SimulatedDisk(random.Random(1)), MemoryTable()
    store = VolumeStore(disk, BlobIndex(table), volume_bytes=VOLUME_BYTES)
    for number in range(100):
        put(store, number, bytes(20_000 if number % 2 else 500))
    asyncio.run(store.sync())
    assert store.usage().garbage_bytes == 0
    store.release(0, [blob(number) for number in range(50)])
    garbage = store.usage().garbage_bytes
    assert 25 * 500 < garbage < 25 * (500 + 2 * 4096 + 200)  # of large ones their ends only
    asyncio.run(store.sync())
    assert VolumeStore(disk, BlobIndex(table), volume_bytes=VOLUME_BYTES).usage().garbage_bytes == garbage
    known = VolumeStore(disk, BlobIndex(MemoryTable()), volume_bytes=VOLUME_BYTES).usage().garbage_bytes
    assert abs(known - garbage) < 4 * 4096  # by the blocks of the files
