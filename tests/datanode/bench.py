"""The parts of a data node on a log, a disk and peers in memory, in virtual time."""

import random
from collections.abc import Awaitable, Callable, Sequence

from awscrt.checksums import crc32c

from datanode.fetch import Fetch
from datanode.index import BlobIndex
from datanode.member import Identity
from datanode.node import BlobRef
from datanode.placement import PlacementMap
from datanode.store import VolumeStore
from tests.datanode.peers import Peers
from tests.datanode.stores import blob
from tests.disks.faulty import FaultyDisk
from tests.simulation.disk import SimulatedDisk
from tests.simulation.table import MemoryTable
from tests.virtual import now_ms, run
from topics import commands, spec, writes
from topics.log import Entry, LogError
from topics.memory import MemoryLog
from topics.placement import Group, Node, Placement, State
from topics.spec import TopicPartition

OWN, PARTITION = "own", 3
IDENTITY = Identity(OWN, "folder", "boot")
OTHERS = ("p", "q", "r")


def ref(number: int, group: int = 0) -> BlobRef:
    return BlobRef(group, blob(number), PARTITION)


class Bench:
    """Knobs: `peers`, `unsaid` (commands that cannot be said), `faults` of the disk, the log's and the disk's own."""

    def __init__(self, log: MemoryLog | None = None) -> None:
        self.log = log or MemoryLog("cluster", now_ms)
        self.disk, self.index = SimulatedDisk(random.Random(0)), MemoryTable()
        self.faults = FaultyDisk(self.disk)
        self.store = self.opened()
        self.peers = Peers(*OTHERS)
        self.map = PlacementMap()
        self.fetch = Fetch(self.store, OWN, self.map, self.peers, 1e12)
        self.said: list[commands.Body] = []
        self.unsaid = 0

    def opened(self) -> VolumeStore:
        """The store as a new process finds it."""
        return VolumeStore(self.faults, BlobIndex(self.index), volume_bytes=1 << 20, reserve_bytes=64)

    async def submit(self, body: commands.Body) -> None:
        if self.unsaid:
            self.unsaid -= 1
            raise LogError("by the test's wish")
        self.said.append(body)

    def place(
        self,
        targets: Sequence[str] = (),
        holders: Sequence[str] | None = None,
        *,
        groups: Sequence[Group] = (),
        down: Sequence[str] = (),
        full: Sequence[str] = (),
        copies: int = 3,
        folder: str = "folder",
        boot: str = "boot",
        without: str = "",
    ) -> None:
        """The next map: group 0 as said, or all groups."""
        nodes = {
            name: Node(
                name,
                folder if name == OWN else "folder",
                boot if name == OWN else "boot",
                f"http://{name}",
                name,
                1,
                State.DOWN if name in down else State.UP,
                is_full=name in full,
            )
            for name in (OWN, *OTHERS)
            if name != without
        }
        first = list(groups) or [Group(list(targets), None if holders is None else list(holders))]
        others = [Group()] * (spec.GROUPS - len(first))
        self.map.update(Placement(self.map.current.epoch + 1, copies, nodes, first + others))

    async def writes(self, *values: tuple[int, bytes], group: int = 0) -> int:
        """Records of a group, by the numbers of their blobs; the offset behind them."""
        entries = [Entry(blob(number), value) for number, value in values]
        return (await self.log.append(TopicPartition("writes", group), entries, durable=True))[-1] + 1

    async def has(self, number: int, data: bytes, group: int = 0) -> bool:
        return self.store.has(group, blob(number)) and await self.store.read(group, blob(number), 0, len(data)) == data

    def fill(self, free_bytes: int = 0) -> None:
        """The disk has so much room left."""
        self.disk.capacity_bytes += free_bytes - self.disk.free_bytes()

    def break_sector(self, number: int, group: int = 0) -> None:
        """The one in the middle of a blob."""
        place = self.store.find(group, blob(number))
        assert place is not None
        self.faults.break_sector(f"volumes/{place.volume:08}.vol", place.offset + place.length // 2)

    def damage(self) -> None:
        """A bit in the middle of all that is on the disk."""
        for file in self.disk.files("volumes").values():
            file.flip(file.size() // 2, 4)


class DeafLog(MemoryLog):
    """Knob: `deaf`, how often the next questions for the beginning of a partition fail."""

    deaf = 0

    async def earliest(self, at: TopicPartition) -> int:
        if self.deaf:
            self.deaf -= 1
            raise LogError("by the test's wish")
        return await super().earliest(at)


def payload(number: int, data: bytes) -> tuple[int, bytes]:
    return number, writes.payload(PARTITION, data)


def claim(number: int, data: bytes, *holders: str) -> tuple[int, bytes]:
    return number, writes.claim(writes.Claim(PARTITION, len(data), crc32c(data), list(holders)))


def release(number: int) -> tuple[int, bytes]:
    return number, writes.RELEASE


def bench(case: Callable[[Bench], Awaitable[None]], seed: int = 0, log: MemoryLog | None = None) -> None:
    async def whole() -> None:
        made = Bench(log)
        await made.log.create_topics(spec.CLUSTER)
        await case(made)

    run(whole(), seed)
