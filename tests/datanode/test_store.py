"""The volume store over its files: what a crash tears, what a bad disk flips, what is given back."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from datanode import layout
from datanode.store import ACTIVE_VOLUMES, BlobMissing, VolumeStore
from tests.datanode.stores import VOLUME_BYTES, allocated, blob, flip, names, opened, put, put_large, read, volumes


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
    payloads = {number: os.urandom(10_000) for number in range(1, ACTIVE_VOLUMES + 2)}
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
