"""The store in one process whose disks are full, or fail: what it refuses, and what goes on."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from bucketlog.disk_marks import Said, marks
from bucketlog.store import DiskNode, Store
from datanode.member import Identity
from datanode.node import NoRoom
from processors.memory import MemoryView
from tests.disks.faulty import FaultyDisk
from tests.simulation.disk import SimulatedDisk
from tests.simulation.table import MemoryTable
from tests.virtual import now_ms, run
from topics import commands, spec
from topics.commands import Mark
from topics.embedded import EmbeddedLog
from topics.log_disk import OneDisk
from topics.objects import Extent
from topics.placement import Group, Node, Placement, State
from topics.spec import TopicPartition


class Made:
    def __init__(self, log: EmbeddedLog, disks: int) -> None:
        self.log = log
        self.disks = [FaultyDisk(SimulatedDisk(random.Random(number))) for number in range(disks)]
        nodes = [
            DiskNode(Identity(f"disk{number}", f"i{number}", "boot"), disk, MemoryTable(), 1 << 40)
            for number, disk in enumerate(self.disks)
        ]
        views = [MemoryView() for _ in range(spec.EVENTS.partitions)]
        self.store = Store(self.log, nodes, views, now_ms, volume_bytes=1 << 20, rng=random.Random(3))

    @classmethod
    async def make(cls, disks: int) -> "Made":
        log_disk = OneDisk(SimulatedDisk(random.Random(9)))
        return cls(await EmbeddedLog.open(log_disk, now_ms, segment_bytes=1 << 20), disks)

    async def put(self) -> Extent:
        """A small payload, durable."""
        extent = await self.store.blobs.put(bytes(1_000), 0)
        await self.log.append(TopicPartition("writes", extent.group), [], durable=True)
        return extent

    async def is_whole(self) -> None:
        """Returns when every disk has its part."""
        while any(len(group.holders or []) < len(self.disks) for group in self.store.map.current.groups):
            await self.store.map.changed(self.store.map.current.epoch)

    async def kept(self) -> int:
        """Records of `writes` that the log keeps."""
        partitions = [TopicPartition("writes", group) for group in range(spec.GROUPS)]
        return sum([await self.log.latest(at) - await self.log.earliest(at) for at in partitions])


def serving(disks: int, case: Callable[[Made], Awaitable[None]]) -> None:
    async def whole() -> None:
        made = await Made.make(disks)
        await made.store.start()
        await case(made)
        await made.store.stop()

    run(whole())


@pytest.mark.parametrize("disks", [1, 3])
def test_a_store_below_its_reserve_takes_no_small_payloads_into_its_log(disks: int) -> None:
    async def case(made: Made) -> None:
        extent = await made.put()
        for disk in made.disks:
            disk.room_bytes = 100_000  # far below the reserve
        await asyncio.sleep(3)
        latest = await made.kept()
        for _ in range(20):
            with pytest.raises(NoRoom):
                await made.put()
            await asyncio.sleep(0.3)
        assert await made.kept() == latest
        assert await made.store.blobs.read(extent, 0, 1_000) == bytes(1_000)
        for disk in made.disks:
            disk.heal()
        await asyncio.sleep(3)
        await made.put()

    serving(disks, case)


@pytest.mark.parametrize("disks", [2, 3])
@pytest.mark.parametrize("hangs", [False, True])
def test_a_disk_that_fails_is_out_by_its_own_word_and_the_log_does_not_wait_for_it(disks: int, hangs: bool) -> None:
    async def case(made: Made) -> None:
        extents = [await made.put() for _ in range(10)]
        await made.is_whole()
        if hangs:
            made.disks[0].hang()
        else:
            made.disks[0].is_broken = True
        extents += [await made.put() for _ in range(10)]
        await asyncio.sleep(60)
        assert made.store.map.current.nodes["disk0"].state is State.OUT
        assert [why for why in made.store.health.needs_restart() if "the disk of data node disk0 fails" in why]
        assert [why for why in made.store.health.unready() if "disk0: its disk fails" in why]
        for _ in range(10):
            extents.append(await made.put())
            await asyncio.sleep(1)
        assert await made.kept() <= 1
        assert [await made.store.blobs.read(each, 0, 1_000) for each in extents] == [bytes(1_000)] * len(extents)
        made.disks[0].heal()

    serving(disks, case)


NODES = {name: Node(name, "i", f"boot-{name}", name, name, 1) for name in ("a", "b", "c")}
WELL, FULL, FAILS = Said(False, ""), Said(True, ""), Said(False, "a write has not ended")


def test_the_last_disk_is_never_out() -> None:
    placement = Placement(1, 3, NODES, [Group(list(NODES))])
    assert marks(placement, dict.fromkeys(NODES, WELL)) == []
    assert marks(placement, {"a": FULL, "b": WELL}) == [commands.MarkNode("a", "boot-a", Mark.FULL)]
    said = {"a": FAILS, "b": WELL, "c": WELL}
    assert marks(placement, said) == [commands.MarkNode("a", "boot-a", Mark.DOWN)]
    down = Placement(2, 3, NODES | {"a": replace(NODES["a"], state=State.DOWN)}, placement.groups)
    assert marks(down, said) == [commands.MarkNode("a", "boot-a", Mark.OUT)]
    out = Placement(3, 3, NODES | {"a": replace(NODES["a"], state=State.OUT)}, placement.groups)
    assert marks(out, said) == [commands.SetCopies(2)]
    assert marks(replace(out, copies=2), said) == []
    assert marks(placement, dict.fromkeys(NODES, FAILS)) == []
    assert marks(placement, {"new": FAILS}) == []
