"""The volume store over its files: what a crash tears, what a bad disk flips, what is given back."""

import asyncio
import errno
import os
import random
import shutil
from pathlib import Path

import pytest

from datanode import layout
from datanode.store import ACTIVE_VOLUMES, BlobExists, BlobMissing, Held, NewBlob, VolumeStore
from tests.datanode.golden import BLOB, PAYLOAD, V1
from tests.datanode.stores import (
    VOLUME_BYTES,
    allocated,
    blob,
    names,
    opened,
    put,
    put_all,
    put_large,
    read,
    volume_of,
    volumes,
)
from tests.disks.faulty import FaultyDisk
from tests.flips import flip
from topics.disk import OsDisk


def test_the_index_is_rebuilt_from_the_volumes(tmp_path: Path) -> None:
    payloads = {number: os.urandom(10_000 * number) for number in range(1, 12)}
    with opened(tmp_path) as store:
        for number, data in payloads.items():
            if number % 2:
                put(store, number, data)
            else:
                put_large(store, number, data)
        store.release(0, [blob(3), blob(4)])
        asyncio.run(store.sync())
    shutil.rmtree(tmp_path / "index")
    with opened(tmp_path) as store:
        assert names(store) == [blob(number) for number in payloads if number not in (3, 4)]
        assert all(read(store, n, len(data)) == data for n, data in payloads.items() if n not in (3, 4))


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("cut", [1, 4, 5_000, 9_990, 10_010, 10_030])
def test_a_torn_tail_is_cut(tmp_path: Path, cut: int, with_index: bool) -> None:
    rng = random.Random(1)  # a checksum that ends with a zero is whole again without it
    payloads = {number: rng.randbytes(10_000) for number in range(1, ACTIVE_VOLUMES + 2)}
    last = ACTIVE_VOLUMES + 1  # in one volume with the first
    with opened(tmp_path) as store:
        for number, data in payloads.items():
            put(store, number, data)
    path = next(each for each in volumes(tmp_path) if blob(last) in each.read_bytes())
    os.truncate(path, path.stat().st_size - cut)
    if not with_index:
        shutil.rmtree(tmp_path / "index")
    with opened(tmp_path) as store:
        with pytest.raises((BlobMissing, layout.BlobCorrupt)):
            read(store, last, 10_000)
        put(store, last, payloads[last])  # as the log brings it again
    with opened(tmp_path) as store:
        assert all(read(store, number, 10_000) == data for number, data in payloads.items())


def test_a_record_written_where_its_lost_one_was_is_not_released_with_it(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(ACTIVE_VOLUMES):
            put(store, number, b"x" * 10_000)
    for path in volumes(tmp_path):
        os.truncate(path, 0)
    with opened(tmp_path) as store:
        for number in (1, 2, 3, 0):  # each into the volume where it was
            put(store, number, b"x" * 10_000)
        assert {store.index.find(0, blob(number)).offset for number in range(ACTIVE_VOLUMES)} == {0}  # type: ignore[union-attr]
    shutil.rmtree(tmp_path / "index")
    with opened(tmp_path) as store:
        assert all(read(store, number, 10_000) == b"x" * 10_000 for number in range(ACTIVE_VOLUMES))


def test_a_flipped_bit_is_never_served(tmp_path: Path) -> None:
    data = os.urandom(3 * layout.BLOCK_BYTES)
    with opened(tmp_path) as store:
        put(store, 1, data)
        asyncio.run(store.sync())
        (path,) = [each for each in volumes(tmp_path) if each.stat().st_size]
        size = path.stat().st_size
        for at in [*range(layout.HEADER_BYTES, size, size // 37), size - 1]:
            flip(path, at)
            with pytest.raises(layout.BlobCorrupt):
                read(store, 1, len(data))
            flip(path, at)
        assert read(store, 1, len(data)) == data


def test_a_released_blob_gives_its_space_back(tmp_path: Path) -> None:
    with opened(tmp_path, volume_bytes=64 << 20) as store:
        put_large(store, 1, os.urandom(8 << 20))
        put_large(store, 2, os.urandom(100_000))
        before = allocated(tmp_path)
        store.release(0, [blob(1), blob(77)])
        assert allocated(tmp_path) < before - (7 << 20)
        with pytest.raises(BlobMissing):
            read(store, 1, 1)
        assert len(read(store, 2, 100_000)) == 100_000
    with opened(tmp_path) as store:
        assert names(store) == [blob(2)]


def test_an_unfinished_blob_is_gone_after_a_restart(tmp_path: Path) -> None:
    async def break_off(store: VolumeStore) -> None:
        writer = store.create(0, blob(1), 3, 1 << 19)
        await writer.write(bytes(1 << 19))  # all bytes, but never committed

    with opened(tmp_path) as store:
        asyncio.run(break_off(store))
        for number in range(2, 2 + ACTIVE_VOLUMES):
            put_large(store, number, b"behind it")
        asyncio.run(store.sync())
    with opened(tmp_path) as store:
        assert names(store) == [blob(number) for number in range(2, 2 + ACTIVE_VOLUMES)]


def test_volumes_stay_near_their_size(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(80):
            put(store, number, os.urandom(100_000))
        assert max(path.stat().st_size for path in volumes(tmp_path)) <= VOLUME_BYTES
        put_large(store, 100, os.urandom(2 * VOLUME_BYTES))  # larger than a volume: it gets one for itself
        assert len(read(store, 100, 2 * VOLUME_BYTES)) == 2 * VOLUME_BYTES


def test_a_start_reads_only_what_was_not_settled(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_large(store, 1, os.urandom(500_000))
        assert store.unsettled_bytes >= 500_000
        asyncio.run(store.sync())
        assert store.unsettled_bytes == 0
        put_large(store, 2, os.urandom(1_000))
    with opened(tmp_path) as store:
        assert store.unsettled_bytes == 1_000


def test_groups_are_held_apart(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for group in (0, 3, 63):
            for number in (2, 1, 3):
                put(store, number, b"%d of %d" % (number, group), group)
        put_large(store, 4, bytes(100_000), 3)
        assert read(store, 2, 6, 63) == b"2 of 6"
        assert store.groups() == {0, 3, 63}
        assert store.blobs(3, blob(2)) == [Held(blob(3), 6, 3), Held(blob(4), 100_000, 3)]
        assert store.blobs(3, limit=1) == [Held(blob(1), 6, 3)]
        store.release(3, [blob(1)])
        assert not store.has(3, blob(1))
        assert store.has(0, blob(1))
        asyncio.run(store.sync())
    shutil.rmtree(tmp_path / "index")
    with opened(tmp_path) as store:
        assert store.lost == {}
        assert [len(store.blobs(group)) for group in (0, 3, 63)] == [3, 3, 3]
        assert store.find(3, blob(4)) is not None


def test_a_dropped_group_leaves_nothing(tmp_path: Path) -> None:
    async def drop(store: VolumeStore) -> None:
        writer = store.create(1, blob(7777), 3, 100)
        await writer.write(bytes(100))
        await store.sync({1: 10, 2: 20})
        syncing = asyncio.create_task(store.sync({1: 11, 2: 21}))
        await asyncio.sleep(0)
        await store.drop_group(1)
        await syncing
        with pytest.raises(BlobMissing):
            await writer.commit()
        await writer.abort()
        assert (store.position(1), store.position(2)) == (None, 21)

    with opened(tmp_path) as store:
        for number in range(500):
            put_all(store, [NewBlob(group, blob(number), 3, bytes(10)) for group in (1, 2)])
        asyncio.run(drop(store))
        assert store.groups() == {2}
        asyncio.run(store.sync())
    shutil.rmtree(tmp_path / "index")
    with opened(tmp_path) as store:
        assert store.groups() == {2}
        assert len(store.blobs(2)) == 500


def test_a_blob_arrives_once_at_a_time(tmp_path: Path) -> None:
    async def arrive(store: VolumeStore) -> None:
        writer = store.create(0, blob(1), 3, 5)
        assert store.is_arriving(0, blob(1))
        for replace in (False, True):
            with pytest.raises(BlobExists):
                store.create(0, blob(1), 3, 5, replace=replace)
        await store.create(1, blob(1), 3, 5).abort()  # another group's
        await writer.write(b"first")
        await writer.commit()
        assert not store.is_arriving(0, blob(1))
        with pytest.raises(BlobExists):
            store.create(0, blob(1), 3, 5)

    with opened(tmp_path) as store:
        asyncio.run(arrive(store))
        assert read(store, 1, 5) == b"first"


@pytest.mark.parametrize("with_index", [True, False])
def test_a_replacement_takes_the_place_of_a_damaged_record(tmp_path: Path, with_index: bool) -> None:
    async def replace(store: VolumeStore) -> None:
        writer = store.create(0, blob(1), 3, len(data), replace=True)
        await writer.write(data)
        with pytest.raises(layout.BlobCorrupt):
            await store.read(0, blob(1), 0, len(data))
        await writer.commit()

    data = os.urandom(200_000)
    with opened(tmp_path) as store:
        put_large(store, 1, data)
        flip(volume_of(tmp_path, 1), 100_000)
        before = allocated(tmp_path)
        asyncio.run(replace(store))
        assert read(store, 1, len(data)) == data
        assert store.usage().live_bytes == layout.record_bytes(len(data))
        assert allocated(tmp_path) < before + 20_000
    if not with_index:
        shutil.rmtree(tmp_path / "index")
    with opened(tmp_path) as store:
        assert read(store, 1, len(data)) == data
        assert store.usage().live_bytes == layout.record_bytes(len(data))


def test_a_release_while_a_blob_arrives_wins(tmp_path: Path) -> None:
    async def arrive(store: VolumeStore) -> None:
        writer = store.create(0, blob(1), 3, 5)
        await writer.write(b"first")
        store.release(0, [blob(1)])
        with pytest.raises(BlobMissing):
            await writer.commit()
        await writer.abort()
        await store.sync()

    with opened(tmp_path) as store:
        asyncio.run(arrive(store))
        assert names(store) == []
    with opened(tmp_path) as store:
        assert names(store) == []


def test_a_position_is_kept_only_with_what_it_covers(tmp_path: Path) -> None:
    disk = FaultyDisk(OsDisk(tmp_path))
    with opened(tmp_path, disk=disk) as store:
        put(store, 1, b"one", 5)
        put(store, 2, b"of another", 6)  # in the next volume
        assert asyncio.run(store.sync({5: 17, 6: 27})) == set()
        put(store, 3, b"synced first", 7)
        put(store, 4, b"two", 5)
        disk.left, disk.left_errno = 1, errno.EIO
        assert asyncio.run(store.sync({5: 18, 6: 28, 7: 38})) == {5}
        assert [store.position(group) for group in (5, 6, 7)] == [17, 28, 38]
        assert asyncio.run(store.sync({5: 18, 6: 29, 7: 39})) == {5}  # what the system dropped, no later sync brings
        assert [store.position(group) for group in (5, 6, 7)] == [17, 29, 39]


def test_records_of_version_1_stay_readable(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "00000000.vol").write_bytes(bytes.fromhex(V1))
    with opened(tmp_path) as store:
        put(store, 5, b"new", 2)
        assert store.blobs(0) == [Held(BLOB, len(PAYLOAD), layout.UNKNOWN_PARTITION)]
        assert asyncio.run(store.read(0, BLOB, 0, len(PAYLOAD))) == PAYLOAD


def test_a_blob_twice_in_one_batch_is_stored_once(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put_all(store, [NewBlob(0, blob(1), 3, b"same")] * 3)
        assert store.usage().live_bytes == layout.record_bytes(4)
        assert sum(path.stat().st_size for path in volumes(tmp_path)) == layout.record_bytes(4)
