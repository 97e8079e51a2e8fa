"""A data node: its disk, which outlives its processes, and the process of the day, put together as in `bucketlog.roles`."""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence

from datanode.clock import LogClock
from datanode.heartbeat import Heart, Said
from datanode.index import BlobIndex
from datanode.member import Identity, NodeReplaced
from datanode.placement import PlacementMap
from datanode.service import NodeService, Times
from datanode.store import VolumeStore
from tests.disks.faulty import FaultyDisk
from tests.simulation.cluster.broker import Connection, Weather
from tests.simulation.data.network import Machine, Network, SimulatedNode
from tests.simulation.disk import SimulatedDisk
from tests.simulation.table import MemoryTable
from topics.memory import MemoryLog
from topics.secret import ClusterSecret
from topics.sender import CommandSender

SECRET = ClusterSecret(b"a secret of a simulated cluster")
VOLUME_BYTES, RESERVE_BYTES = 256 << 10, 32 << 10
ROOM_BYTES = 1 << 40
TIMES = Times(orphan_after_s=8.0, sweep_pace_s=1.0, sweep_every_s=5.0, compact_every_s=2.0, scrub_every_s=3.0)
AGAIN_S = 1.0


class Host:
    def __init__(
        self, number: int, network: Network, log: MemoryLog, weather: Weather, rack: str = "", capacity_bytes: int = 1 << 30
    ) -> None:
        self.name = f"node-{number}"
        self.rack = rack or self.name
        self.clock_off_s = 0.0
        self.disturbed_s = 0.0  # when it ended or lost something last
        self.mislaid: set[tuple[int, bytes]] = set()  # group and blob: what it lost and does not know of
        self.is_retired = False  # it does not come back
        self.rows_at_start = 0  # of its index that the last start wrote at once, at most
        self._allocates_ahead = number % 2 == 1
        self._capacity_bytes = capacity_bytes
        self._network = network
        self._log = log
        self._weather = weather
        self._boots = 0
        self._folders = 0
        self.up_since_s = 0.0
        self.machine = self._machine()
        self.connection = Connection(log, self.machine, weather)
        self.known = PlacementMap()
        self.service: NodeService | None = None
        self.wipe()

    @property
    def endpoint(self) -> str:
        return f"http://{self.name}"

    def wipe(self) -> None:
        """An empty folder: another node of the same name."""
        self._folders += 1
        self.incarnation = f"{self.name}-folder-{self._folders}"
        self.disk = SimulatedDisk(self._network.rng)
        self.disk.allocates_ahead = self._allocates_ahead
        self.faults = FaultyDisk(self.disk)
        self.faults.when_raised = lambda number: self._network.note(f"raised {errno.errorcode[number]}")
        self.lose_index()

    def lose_index(self) -> None:
        self.table = MemoryTable()

    @property
    def lacks_mislaid(self) -> bool:
        """Or what it mislaid was released since."""
        service = self.service
        return service is None or not all(service.store.has(*each) for each in self.mislaid)

    def start(self) -> None:
        if self.is_retired or (not self.machine.is_dead and self.service is not None):
            return
        self._boots += 1
        machine = self.machine = self._machine()
        self.up_since_s = self._network.loop.time()
        self.connection = Connection(self._log, machine, self._weather)
        self.known = PlacementMap()
        machine.run(self._live())

    def die(self, *, power: bool) -> None:
        """A dead process writes nothing more: what its coroutines do on their way out reaches no disk."""
        self.disturbed_s = self._network.loop.time()
        if self.machine.is_dead:
            return
        self.disk.is_frozen = self.table.is_frozen = True
        self.machine.die(silently=power)
        self.disk.is_frozen = self.table.is_frozen = False
        if power:
            self.disk.power_cut()
            self.table.lose_last(self._network.rng.randrange(4))

    def mislay(self, group: int, blobs: Sequence[bytes]) -> None:
        """It lacks them, is said to hold them, and does not know it."""
        assert self.service is not None
        self.disturbed_s = self._network.loop.time()
        self.mislaid.update((group, blob) for blob in blobs)
        self.service.store.release(group, blobs)

    def stop_for(self, seconds: float, *, power: bool) -> None:
        self.die(power=power)
        self._network.loop.in_world(seconds, self.start)

    async def _live(self) -> None:
        own = Identity(self.name, self.incarnation, f"{self.name}-boot-{self._boots}")
        log, loop, machine = self.connection, self._network.loop, self.machine
        clock = LogClock(lambda: int((loop.time() + self.clock_off_s) * 1000), loop.time)
        try:
            store = self._opened()
        except OSError:
            self._network.note("no start, for the disk's sake")
            loop.in_world(AGAIN_S, lambda: self.stop_for(0.0, power=False))
            return
        submit = CommandSender(log, clock)
        nodes = lambda endpoint: SimulatedNode(self._network, machine, endpoint)  # noqa: E731
        service = self.service = NodeService(own, log, store, self.known, nodes, submit, clock, TIMES)
        machine.node = service.node
        self._network.machines[self.endpoint] = machine
        said = Said(self.endpoint, self.rack, self._capacity_bytes)
        await asyncio.gather(
            self._guarded(lambda: self.known.run(log)),
            self._guarded(service.run),
            self._guarded(Heart(log, service, said, SECRET, clock).run),
        )

    def _opened(self) -> VolumeStore:
        self.table.rows_max = 0
        index = BlobIndex(self.table)
        store = VolumeStore(self.faults, index, volume_bytes=VOLUME_BYTES, reserve_bytes=RESERVE_BYTES)
        self.rows_at_start = self.table.rows_max
        self.faults.stood_still.clear()  # nobody is served, yet
        return store

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except NodeReplaced:
            self._network.note("node replaced")
            self._network.loop.in_world(AGAIN_S, lambda: self.stop_for(0.0, power=False))
        except Exception as error:  # noqa: BLE001 - nothing of it may end; told at the end
            self._network.failed(self.machine, error)

    def _machine(self) -> Machine:
        return Machine(self._network.loop, self.name, self._network.rng.random() * 1e6)
