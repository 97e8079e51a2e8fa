"""A disk that does not answer holds neither the loop nor what another disk has; what is in memory costs no thread."""

import asyncio
import os
import random
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from datanode.compaction import Compactor
from datanode.index import BlobIndex
from datanode.store import NewBlob, VolumeStore
from datanode.volume import Volume
from tests import virtual
from tests.datanode.stores import blob, names, opened, put, put_large
from tests.disks.faulty import FaultyDisk
from tests.simulation.disk import SimulatedDisk
from tests.simulation.table import MemoryTable
from topics.disk import LATE_S, OsDisk

DATA = b"small" * 4_000
BLOBS = 40
Case = Callable[[VolumeStore, FaultyDisk], Awaitable[None]]


class Index(MemoryTable):
    syncs = 0

    def sync(self) -> None:
        self.syncs += 1
        super().sync()


def hung(case: Case, table: MemoryTable | None = None) -> None:
    """A store of blobs that are not in memory, on a disk that hangs; in virtual time."""

    async def whole() -> None:
        disk = FaultyDisk(SimulatedDisk(random.Random(0)))
        store = VolumeStore(disk, BlobIndex(table or MemoryTable()), volume_bytes=1 << 20, reserve_bytes=0)
        for number in range(BLOBS):
            put(store, number, DATA)
        disk.is_cold = True
        disk.hang()
        await case(store, disk)
        assert disk.stood_still == []

    virtual.run(whole())


async def comes_when_the_disk_answers(disk: FaultyDisk, work: Awaitable[object]) -> object:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(5)
    assert not task.done()
    disk.go_on()
    return await task


def test_a_read_waits_for_the_disk_beside_the_loop() -> None:
    async def case(store: VolumeStore, disk: FaultyDisk) -> None:
        assert await comes_when_the_disk_answers(disk, store.read(0, blob(1), 0, len(DATA))) == DATA

    hung(case)


def test_so_does_a_page_with_its_checksums() -> None:
    async def case(store: VolumeStore, disk: FaultyDisk) -> None:
        page = await comes_when_the_disk_answers(disk, store.blobs_checked(0, b""))
        assert page == await store.blobs_checked(0, b"")

    hung(case)


@pytest.mark.parametrize("data", [DATA, DATA[:-1] + b"?"], ids=["same", "other"])
def test_so_does_a_payload_whose_blob_is_here(data: bytes) -> None:
    async def case(store: VolumeStore, disk: FaultyDisk) -> None:
        end = {volume.number: volume.end for volume in store.volumes.all.values()}
        await comes_when_the_disk_answers(disk, store.put_all([NewBlob(0, blob(1), 3, data), NewBlob(0, blob(2), 3, DATA)]))
        assert end == {volume.number: volume.end for volume in store.volumes.all.values()}

    hung(case)


def test_so_does_one_that_moves_while_it_is_compared() -> None:
    async def case(store: VolumeStore, disk: FaultyDisk) -> None:
        putting = asyncio.create_task(store.put_all([NewBlob(0, blob(1), 3, DATA)]))
        await asyncio.sleep(LATE_S / 2)
        store.release(0, [blob(1)])
        put(store, 1, DATA)
        place = store.find(0, blob(1))
        await comes_when_the_disk_answers(disk, putting)
        assert store.find(0, blob(1)) == place

    hung(case)


def test_one_that_is_released_while_it_is_compared_stays_so() -> None:
    async def case(store: VolumeStore, disk: FaultyDisk) -> None:
        putting = asyncio.create_task(store.put_all([NewBlob(0, blob(1), 3, DATA), NewBlob(0, blob(99), 3, DATA)]))
        await asyncio.sleep(1)
        disk.is_mute = True
        store.release(0, [blob(1)])
        await comes_when_the_disk_answers(disk, putting)
        assert (store.has(0, blob(1)), store.has(0, blob(99))) == (False, True)

    hung(case)


def test_the_index_is_synced_beside_the_loop() -> None:
    table = Index()

    async def case(store: VolumeStore, disk: FaultyDisk) -> None:
        disk.go_on()
        await store.sync()
        syncs = table.syncs
        disk.hang()
        await comes_when_the_disk_answers(disk, store.sync({0: 1}))
        assert (table.syncs, store.position(0)) == (syncs + 1, 1)

    hung(case, table)


def test_an_index_that_is_not_synced_in_time_is_an_error() -> None:
    async def case(store: VolumeStore, disk: FaultyDisk) -> None:
        disk.go_on()
        await store.sync()
        disk.hang()
        with pytest.raises(TimeoutError):
            await store.sync({0: 1})
        disk.go_on()
        await store.sync({0: 1})

    hung(case)


def test_blobs_are_released_at_once_and_marked_when_the_disk_answers() -> None:
    async def case(store: VolumeStore, disk: FaultyDisk) -> None:
        store.release(0, [blob(number) for number in range(BLOBS - 1)])
        assert names(store) == [blob(BLOBS - 1)]
        assert sum(volume.hole_bytes for volume in store.volumes.all.values()) == 0
        settling = asyncio.create_task(store.sync({0: 7}))
        await asyncio.sleep(5)
        assert (store.position(0), settling.done()) == (None, False)  # a start behind 7 would bring them back
        disk.go_on()
        await settling
        assert store.position(0) == 7
        assert sum(volume.hole_bytes for volume in store.volumes.all.values()) >= (BLOBS - 1) * 12_288

    hung(case)


def test_what_compaction_copied_in_vain_is_marked_when_the_disk_answers() -> None:
    """Its blob was released meanwhile, and the disk begins to hang between the sync of the copy and its mark."""

    async def case(store: VolumeStore, disk: FaultyDisk) -> None:
        disk.go_on()
        store.release(0, [blob(number) for number in range(1, BLOBS)])
        for number in store.volumes.all:
            store.volumes.seal(number)
        sync = Volume.sync

        async def synced(volume: Volume) -> None:
            await sync(volume)
            store.release(0, [blob(0)])
            disk.hang()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Volume, "sync", synced)
            compacting = asyncio.create_task(Compactor(store).compact())
            await asyncio.sleep(5)
        disk.go_on()
        await compacting
        await store.sync()
        assert (store.usage().live_bytes, store.usage().garbage_bytes < len(DATA)) == (0, True)

    hung(case)


def test_a_blob_that_does_not_come_is_given_up_at_once() -> None:
    async def case(store: VolumeStore, disk: FaultyDisk) -> None:
        disk.go_on()
        writer = store.create(0, blob(99), 3, 1 << 20)
        disk.hang()
        writing = asyncio.create_task(writer.write(bytes(1 << 19)))
        await asyncio.sleep(5)
        assert not writing.done()
        writing.cancel()
        await writer.abort()
        assert not store.is_arriving(0, blob(99))

    hung(case)


def test_what_was_released_is_marked_on_the_disk(tmp_path: Path) -> None:
    disk = FaultyDisk(OsDisk(tmp_path))

    async def case(store: VolumeStore) -> None:
        disk.is_cold = True
        store.release(0, [blob(1)])
        await store.sync({0: 7})

    with opened(tmp_path, disk=disk) as store:
        for number in (1, 2):
            put(store, number, DATA)
        asyncio.run(case(store))
    for path in (tmp_path / "index").iterdir():
        path.unlink()
    with opened(tmp_path) as store:
        assert names(store) == [blob(2)]


def test_what_is_in_memory_is_read_without_a_thread(tmp_path: Path) -> None:
    disk = FaultyDisk(OsDisk(tmp_path))
    with opened(tmp_path, disk=disk) as store:
        data = os.urandom(100_000)
        put_large(store, 1, data)
        put(store, 2, b"small")
        waits = disk.waits
        assert asyncio.run(store.read(0, blob(1), 5_000, 4096)) == data[5_000 : 5_000 + 4096]
        assert asyncio.run(store.read(0, blob(2), 0, 5)) == b"small"
        store.release(0, [blob(1), blob(2)])
        assert disk.waits == waits


def test_what_cannot_be_read_at_its_end_is_released_all_the_same(tmp_path: Path) -> None:
    disk = FaultyDisk(OsDisk(tmp_path))
    with opened(tmp_path, disk=disk) as store:
        put(store, 1, DATA)
        disk.break_sector("volumes/00000000.vol", len(DATA))
        store.release(0, [blob(1)])
        assert names(store) == []


async def late(disk: FaultyDisk) -> "asyncio.Task[object]":
    """It hangs, and that can be known: what is asked of it."""
    disk.hang()
    asked = asyncio.create_task(disk.run(object))
    await asyncio.sleep(2 * LATE_S)
    assert disk.is_late
    return asked


def test_nothing_is_written_on_the_loop_to_a_disk_that_is_late() -> None:
    table = Index()

    async def case(store: VolumeStore, disk: FaultyDisk) -> None:
        disk.is_cold = False
        disk.go_on()
        writer, stands = store.create(0, blob(98), 3, 1 << 16), store.create(0, blob(97), 3, 5)
        await stands.write(b"large")
        await stands.commit()
        asked = await late(disk)
        table.fails = True  # it lies on that disk, too
        await asyncio.gather(writer.abort(), stands.abort())
        assert not store.is_arriving(0, blob(98))
        works = store.put_all([NewBlob(0, blob(99), 3, DATA)]), store.drop_group(1), store.sync({0: 5})
        waiting = [asyncio.create_task(work) for work in works]
        await asyncio.sleep(5)
        assert not any(task.done() for task in waiting)
        table.fails = False
        store.release(0, [blob(1)])
        disk.go_on()
        await asyncio.gather(asked, *waiting)
        assert [store.has(0, blob(number)) for number in (1, 97, 99)] == [False, False, True]
        assert (store.position(0), store.volumes.next(0).open_bytes) == (5, 0)

    hung(case, table)


def test_a_disk_is_late_when_a_sync_of_it_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = threading.Event()

    async def case() -> None:
        disk = OsDisk(tmp_path)
        hangs, file = disk.open("hangs"), disk.open("file")
        monkeypatch.setattr(os, "fdatasync", lambda fd: stuck.wait(20))
        assert not disk.is_late
        syncing = asyncio.create_task(hangs.sync())
        await asyncio.sleep(LATE_S / 2)
        assert not disk.is_late
        async with asyncio.timeout(10):
            while not disk.is_late:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
            await file.write_synced(b"x", 0)
            assert not disk.is_late  # it answers something
            while not disk.is_late:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)
            stuck.set()
            await syncing
        assert not disk.is_late
        for each in (hangs, file, disk):
            each.close()

    asyncio.run(case())
