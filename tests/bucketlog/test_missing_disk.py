"""The store in one process that starts without one of its disks: those that are there have its groups from then on."""

import asyncio
import random

import pytest

from bucketlog.store import DiskNode, Store
from datanode import member
from datanode.member import Identity
from processors.memory import MemoryView
from tests.simulation.disk import SimulatedDisk
from tests.simulation.table import MemoryTable
from tests.virtual import now_ms, run
from topics import spec
from topics.embedded import EmbeddedLog
from topics.log_disk import OneDisk
from topics.objects import Extent
from topics.spec import TopicPartition

DATA = bytes(10_000)
PAYLOADS = 20
SEGMENT_BYTES = 64 << 10  # so that the log rolls, and a start knows what was trimmed
PAUSE_S = 2.0  # so that the next payload goes to another group
HELD_S = 60.0  # within which all is copied


class Machine:
    """Its log is on a disk of its own."""

    def __init__(self, disks: int) -> None:
        self._log = SimulatedDisk(random.Random(9))
        self._disks = [SimulatedDisk(random.Random(number)) for number in range(disks)]
        self._indexes = [MemoryTable() for _ in self._disks]
        self._views = [MemoryView() for _ in range(spec.EVENTS.partitions)]
        self._boots = 0

    async def start(self, *numbers: int) -> Store:
        """With these disks; returns when they hold every group."""
        self._boots += 1
        nodes = [
            DiskNode(
                Identity(f"disk{number}", f"i{number}", f"b{self._boots}"),
                self._disks[number],
                self._indexes[number],
                1 << 40,
            )
            for number in numbers
        ]
        log = await EmbeddedLog.open(OneDisk(self._log), now_ms, segment_bytes=SEGMENT_BYTES)
        store = Store(log, nodes, self._views, now_ms, volume_bytes=1 << 20, rng=random.Random(3))
        await store.start()
        async with asyncio.timeout(HELD_S):
            while any(set(group.holders or []) != set(store.nodes) for group in store.map.current.groups):
                await store.map.changed(store.map.current.epoch)
        return store

    def lose_index(self, number: int) -> None:
        self._indexes[number] = MemoryTable()


async def written(store: Store) -> list[Extent]:
    """Payloads that the log does not keep, but for the last ones."""
    extents = []
    for _ in range(PAYLOADS):
        extents.append(await store.blobs.put(DATA, 0))
        await asyncio.sleep(PAUSE_S)
    return extents


async def read(store: Store, extents: list[Extent]) -> None:
    for extent in extents:
        assert await store.blobs.read(extent, 0, len(DATA)) == DATA


@pytest.mark.parametrize("left", [[0], [1], [0, 1], [0, 2], [1, 2]])
def test_the_others_hold_what_it_held(left: list[int]) -> None:
    """There are fewer copies then; the one that goes is the missing one."""

    async def case() -> None:
        machine = Machine(len(left) + 1)
        store = await machine.start(*range(len(left) + 1))
        extents = await written(store)
        await store.stop()
        store = await machine.start(*left)
        await read(store, extents)
        await store.stop()

    run(case())


def test_one_that_lost_its_index_does_not_leave_its_groups_to_the_missing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it holds it cannot know: that it says all the time, so that it is heard as soon as it is registered."""
    monkeypatch.setattr(member, "AGAIN_S", 0.001)

    async def case() -> None:
        machine = Machine(3)
        await (await machine.start(0, 1, 2)).stop()
        store = await machine.start(0, 1)
        extents = await written(store)
        await store.stop()
        machine.lose_index(0)
        store = await machine.start(0, 2)
        assert await store.log.earliest(TopicPartition("writes", extents[0].group)) > 0
        await read(store, extents)
        await store.stop()

    run(case())
