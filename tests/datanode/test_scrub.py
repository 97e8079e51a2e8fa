"""The scrub: all that is live is read, at its rate, and what is damaged is told of."""

import asyncio
import os
import random
from pathlib import Path

from datanode import layout
from datanode.index import BlobIndex
from datanode.scrub import Scrubber
from datanode.store import NewBlob, VolumeStore
from tests.datanode.stores import blob, opened, put, put_all, put_large, read, volume_of
from tests.flips import flip
from tests.simulation.disk import SimulatedDisk
from tests.simulation.loop import SimulatedLoop
from tests.simulation.table import MemoryTable


def scrub(store: VolumeStore) -> list[tuple[int, bytes]]:
    damaged: list[tuple[int, bytes]] = []
    asyncio.run(Scrubber(store, lambda group, name: damaged.append((group, name)), bytes_per_s=1e12).scrub())
    return damaged


def test_damage_anywhere_in_a_live_record_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        payloads = {number: os.urandom(size) for number, size in enumerate((10, 5_000, 70_000, 900_000), 1)}
        for number, data in payloads.items():
            (put_large if len(data) > 10_000 else put)(store, number, data, number)
        put(store, 9, b"released", 9)
        assert scrub(store) == []
        for number, data in payloads.items():
            path = volume_of(tmp_path, number)
            start = path.read_bytes().index(blob(number)) - 8
            for at in (8, layout.HEADER_BYTES, layout.HEADER_BYTES + len(data) - 1, layout.record_bytes(len(data)) - 1):
                flip(path, start + at)
                assert scrub(store) == [(number, blob(number))]
                flip(path, start + at)
        flip(volume_of(tmp_path, 9), volume_of(tmp_path, 9).read_bytes().index(b"released"))
        store.release(9, [blob(9)])
        assert scrub(store) == []


def in_memory(count: int, size: int) -> tuple[VolumeStore, SimulatedLoop]:
    rng = random.Random(1)
    store = VolumeStore(SimulatedDisk(rng), BlobIndex(MemoryTable()), volume_bytes=1 << 20, reserve_bytes=0)
    put_all(store, [NewBlob(number % 3, blob(number), 3, rng.randbytes(size)) for number in range(count)])
    return store, SimulatedLoop(rng, 0.0)


def test_a_pass_keeps_its_rate_and_its_period() -> None:
    store, loop = in_memory(1_000, 5_000)
    scrubber = Scrubber(store, bytes_per_s=1_000_000)
    loop.run_until_complete(scrubber.scrub())
    assert scrubber.verified == 1_000
    assert 5.0 <= loop.time() < 5.5

    async def run_for(seconds: float) -> None:
        running = asyncio.create_task(scrubber.run(60))
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    loop.run_until_complete(run_for(59))
    assert scrubber.verified == 2_000
    loop.run_until_complete(run_for(130))
    assert scrubber.verified == 5_000  # at 0, 60 and 120 s
    loop.end()


def test_a_pass_that_was_broken_off_goes_on_where_it_was() -> None:
    store, loop = in_memory(1_000, 5_000)
    scrubber = Scrubber(store, bytes_per_s=1_000_000)

    async def break_off() -> None:
        running = asyncio.create_task(scrubber.scrub())
        await asyncio.sleep(2.5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    loop.run_until_complete(break_off())
    assert 0 < scrubber.verified < 700
    loop.run_until_complete(scrubber.scrub())
    assert scrubber.verified == 1_000
    loop.end()


def test_a_pass_that_a_restart_broke_off_goes_on_where_it_was() -> None:
    store, loop = in_memory(3_000, 40_000)
    first = Scrubber(store, bytes_per_s=20_000_000)

    async def break_off() -> None:
        running = asyncio.create_task(first.scrub())
        await asyncio.sleep(5.5)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    loop.run_until_complete(break_off())
    assert 2_500 < first.verified < 2_900
    rest = Scrubber(store, bytes_per_s=1e12)
    loop.run_until_complete(rest.scrub())
    assert 3_000 - first.verified <= rest.verified < 500
    again = Scrubber(store, bytes_per_s=1e12)
    loop.run_until_complete(again.scrub())
    assert again.verified == 3_000
    loop.end()


def test_what_moves_while_it_is_read_is_not_told(tmp_path: Path) -> None:
    async def race(store: VolumeStore) -> None:
        entries = list(store.index.entries())
        looking = asyncio.create_task(store.damaged(entries))
        await asyncio.sleep(0)
        store.release(0, [blob(1)])
        assert await looking == []

    with opened(tmp_path) as store:
        put(store, 1, os.urandom(100_000))
        put(store, 2, os.urandom(100_000))
        asyncio.run(race(store))
        assert len(read(store, 2, 100_000)) == 100_000
