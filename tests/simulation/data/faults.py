"""What goes wrong around data nodes: several faults at once, as long as they leave a quorum; or one alone.

Any number of nodes may die, be paused, be cut off or lose what they had not synced. Only one may lose what it had promised
to keep (by a wiped folder, a cut or damaged file, or because it is away, or its disk fails, for so long that its groups go
elsewhere), until all groups are whole again: then another.
"""

import asyncio
import errno
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from processors.machine.rendezvous import is_candidate
from tests.simulation.cluster.broker import Connection, Weather
from tests.simulation.data import checks
from tests.simulation.data.host import ROOM_BYTES, Host
from tests.simulation.data.network import Machine, Network
from tests.simulation.invariants import ReplicasConverge
from tests.simulation.plan import Fault, carry_out, planned
from topics import commands
from topics.memory import MemoryLog
from topics.placement import Placement
from topics.sender import CommandSender

BETWEEN_S = 2.5
AWAY_S, LONG_AWAY_S = 5.0, 16.0  # the second: longer than it takes to be out
UNHEARD_S_MAX = 2.5  # of a node that may be away once more without being out
LEFT_BYTES = 48 << 10  # on a disk that is full
COLD = 0.5  # of disks that hang: how many give only what is in memory, and how many tell nobody what they did
HUNG_S = 2.5  # shorter than it takes to be out for it
BROKEN_S = 5.5  # longer
RETIRED_S = 60.0
AGAIN_S = 2.0  # within which who is started again is heard, and perhaps judged
GONE_S = 8.0  # after which nothing lands that a node said before it ended
TOPICS = ("writes", "placement")


class Front(Protocol):
    """A gateway."""

    name: str
    machine: Machine
    connection: Connection

    def start(self) -> None: ...


class DataPlane(Protocol):
    """What faults need of the world."""

    rng: random.Random
    log: MemoryLog
    network: Network
    weather: Weather
    hosts: list[Host]

    @property
    def gateways(self) -> Sequence[Front]: ...

    def note(self, what: str) -> None: ...

    def placement(self) -> Placement: ...

    async def is_whole(self, since_s: float) -> bool:
        """Whether every group has all its copies of all that was begun after `since_s`."""
        ...

    def add_host(self) -> None: ...

    def replace_judge(self) -> None:
        """By one that has heard nothing yet."""
        ...


class Faults:
    def __init__(self, world: DataPlane, acts_s: Sequence[float], rng: random.Random) -> None:
        self._in = world
        self._rng = world.rng
        self._loop = world.network.loop
        self._loser = ""  # who lost what it had promised to keep
        self._lost_s = 0.0
        self._retiring: asyncio.Task[None] | None = None
        self._alone: list[Callable[[], Awaitable[None]]] = [
            self._crash,
            self._pause,
            self._cut,
            self._isolate,
            self._slow,
            self._fill,
            self._lose,
            self._damage,
            self._lose_sectors,
            self._drain,
            self._wrong_clock,
            self._fail_sync,
            self._refuse_room,
            self._break_disk,
            self._replace_judge,
        ]
        self._together = [
            *self._alone,
            self._crash,
            self._crash,
            self._pause,
            self._cut,
            self._storm,
            self._storm,
            self._stall,
            self._lose,
            self._lose,
            self._lose,
            self._damage,
            self._lose_sectors,
            self._hang,
            self._lose_index,
            self._stay_away,
            self._mislay,
            self._rack_away,
            self._pause_cluster,
            self._break_gateway,
            self._join,
            self._slow_brokers,
            self._fill_all,
            self._fail_index,
            self._retire,
        ]
        self.planned = planned(rng, self._together, acts_s, BETWEEN_S, self._alone)

    async def run(self, act: int) -> None:
        await carry_out((each for each in self.planned if each.act == act), self.befall)

    async def befall(self, fault: Fault) -> None:
        self._rng = fault.choices()
        await getattr(self, fault.kind)()

    async def end(self) -> None:
        """Afterwards all is well, as soon as those that are away are back."""
        network = self._in.network
        self._in.weather.is_bad = False
        network.cut.clear()
        network.slow_s.clear()
        for host in self._in.hosts:
            host.disk.capacity_bytes = ROOM_BYTES
            host.faults.is_broken, host.faults.left, host.faults.sync_errno = False, None, None
            host.faults.go_on()
            host.faults.is_cold = host.faults.is_mute = False
            host.table.fails = False
            host.clock_off_s = 0.0
        for each in self._everybody():
            each.connection.stalls.clear()
            each.connection.lands_late_until_s = 0.0
        if self._retiring is not None:
            await self._retiring
            self._retiring = None
        while any(each.machine.is_dead or each.machine.is_paused for each in self._everybody()):
            await asyncio.sleep(0.1)
        for host in self._in.hosts:
            await self._say(commands.DrainNode(host.name, False))
        await self._say(commands.PauseCluster(False))

    async def _well(self) -> Host | None:
        """One that was heard just now, so that it is not out if it is away for a while."""
        host = self._rng.choice(self._in.hosts)
        is_heard = self._loop.time() - await checks.heard_s(self._in.log, host.name) < UNHEARD_S_MAX
        return None if host.machine.is_dead or host.machine.is_paused or not is_heard else host

    async def _may_lose(self, host: Host) -> bool:
        """Whether it may lose what others rely on; then it has."""
        if self._loser not in {"", host.name} and not await self._in.is_whole(self._lost_s):
            return False
        self._loser, self._lost_s = host.name, self._loop.time()
        return True

    async def _crash(self) -> None:
        if (host := await self._well()) is not None:
            power = self._rng.random() < 0.5
            host.stop_for(self._rng.random() * AWAY_S, power=power)
            self._in.note("power cut" if power else "kill")

    async def _pause(self) -> None:
        if (host := await self._well()) is not None:
            host.machine.pause(self._rng.random() * AWAY_S, asleep=self._rng.random() < 0.3, has_sent=True)
            self._in.note("pause")

    async def _cut(self) -> None:
        """Two machines do not reach each other."""
        network, names = self._in.network, [each.name for each in self._everybody()]
        pair = frozenset(self._rng.sample(names, 2))
        network.cut.add(pair)
        self._loop.in_world(self._rng.random() * 6, lambda: network.cut.discard(pair))
        self._in.note("partition")

    async def _isolate(self) -> None:
        """No other data node reaches one; gateways do."""
        cut, name = self._in.network.cut, self._rng.choice(self._in.hosts).name
        pairs = {frozenset((name, each.name)) for each in self._in.hosts if each.name != name}
        cut |= pairs
        self._loop.in_world(self._rng.random() * 6, lambda: cut.difference_update(pairs))
        self._in.note("node isolated")

    async def _slow(self) -> None:
        network, name = self._in.network, self._rng.choice(self._in.hosts).name
        network.slow_s[name] = self._rng.choice([0.05, 0.3, 1.0])
        self._loop.in_world(self._rng.random() * 6, lambda: _forget(network.slow_s, name))
        self._in.note("slow node")

    async def _fill(self) -> None:
        self._fill_for(self._rng.choice(self._in.hosts), self._rng.randrange(LEFT_BYTES), 1 + self._rng.random() * 7)
        self._in.note("disk full")

    def _fill_for(self, host: Host, left_bytes: int, seconds: float) -> None:
        disk = host.disk
        disk.capacity_bytes += left_bytes - disk.free_bytes()
        self._loop.in_world(seconds, lambda: setattr(disk, "capacity_bytes", ROOM_BYTES))

    async def _fill_all(self) -> None:
        """So that no group has a quorum with room."""
        for host in self._in.hosts:
            self._fill_for(host, self._rng.randrange(LEFT_BYTES // 2), 3 + self._rng.random() * 4)
        self._in.note("all disks full")

    async def _refuse_room(self) -> None:
        """The file system has no room for one operation, whatever it said."""
        faults = self._rng.choice(self._in.hosts).faults
        faults.left, faults.left_errno = self._rng.randrange(6), errno.ENOSPC

    async def _fail_sync(self) -> None:
        self._rng.choice(self._in.hosts).faults.sync_errno = errno.EIO

    async def _break_disk(self) -> None:
        """It takes and gives nothing, so long that it should be out."""
        host = self._rng.choice(self._in.hosts)
        if await self._may_lose(host):
            faults = host.faults
            faults.is_broken = True
            self._loop.in_world(BROKEN_S * (1 + self._rng.random()), lambda: setattr(faults, "is_broken", False))
            self._in.note("disk broken")

    async def _fail_index(self) -> None:
        """It can be neither read nor written for a while."""
        table = self._rng.choice(self._in.hosts).table
        table.fails = True
        self._loop.in_world(self._rng.random() * 2, lambda: setattr(table, "fails", False))
        self._in.note("index fails")

    async def _lose(self) -> None:
        """A folder is wiped, or a file is gone or cut."""
        if (host := await self._well()) is None or not await self._may_lose(host):
            return
        host.die(power=False)
        if self._rng.random() < 0.3:
            host.wipe()
            self._in.note("folder wiped")
        elif files := host.disk.files("volumes"):
            path, file = self._rng.choice(sorted(files.items()))
            if self._rng.random() < 0.3:
                host.disk.lose(path)
            else:
                file.cut(self._rng.randrange(file.size() + 1))
            self._in.note("volume cut")

        def start() -> None:
            host.start()
            if self._rng.random() < 0.6:  # and ends again, perhaps before it could tell
                self._loop.in_world(self._rng.random(), lambda: host.stop_for(self._rng.random(), power=False))

        self._loop.in_world(self._rng.random() * 2, start)

    async def _damage(self) -> None:
        host = self._rng.choice(self._in.hosts)
        files = [file for file in host.disk.files("volumes").values() if file.size()]
        if files and await self._may_lose(host):
            for _ in range(self._rng.choice([1, 1, 5])):
                file = self._rng.choice(files)
                file.flip(self._rng.randrange(file.size()), 1 << self._rng.randrange(8))
            self._in.note("bits flipped")

    async def _lose_sectors(self) -> None:
        """They cannot be read any more."""
        host = self._rng.choice(self._in.hosts)
        files = [(path, file.size()) for path, file in host.disk.files("volumes").items() if file.size()]
        if files and await self._may_lose(host):
            for _ in range(self._rng.choice([1, 1, 5])):
                path, size = self._rng.choice(files)
                host.faults.break_sector(path, self._rng.randrange(size))
            self._in.note("sectors that cannot be read")

    async def _hang(self) -> None:
        """A disk syncs nothing for a while, and may give only what is in memory, if that."""
        host = self._rng.choice(self._in.hosts)
        seconds = self._rng.random() * (2 * HUNG_S if await self._may_lose(host) else HUNG_S)  # out, or not
        host.faults.hang()
        host.faults.is_cold, host.faults.is_mute = self._rng.random() < COLD, self._rng.random() < COLD
        self._loop.in_world(seconds, host.faults.go_on)
        self._in.note("disk hangs, cold" if host.faults.is_cold else "disk hangs")

    async def _lose_index(self) -> None:
        if (host := await self._well()) is not None and await self._may_lose(host):
            host.die(power=False)
            host.lose_index()
            self._loop.in_world(self._rng.random() * 2, host.start)
            self._in.note("index lost")

    async def _stay_away(self) -> None:
        """So long that its groups go elsewhere."""
        if (host := await self._well()) is not None and await self._may_lose(host):
            host.stop_for(LONG_AWAY_S * (0.5 + self._rng.random() / 2), power=self._rng.random() < 0.5)
            self._in.note("away for long")

    async def _mislay(self) -> None:
        """A node lacks blobs that it is said to hold, and does not know it; it may be asked for copies at once.

        Not where it alone can be asked: who copies from it would lack them, too, and know as little.
        """
        host = await self._well()
        if host is None or host.service is None or not await self._may_lose(host) or host.table.fails:
            return
        if all(each.machine.is_dead for each in self._in.hosts if each.rack != host.rack):
            return
        store = host.service.store
        for group in sorted(store.groups()):
            host.mislay(group, [each.blob for each in store.blobs(group) if self._rng.random() < 0.3])
        self._in.note("blobs mislaid")
        if self._rng.random() < 0.6:
            await self._rng.choice([self._drain, self._join])()

    async def _rack_away(self) -> None:
        """A failure domain of several nodes, so long that each of them would be out: but they lose nothing."""
        racks = Counter(each.rack for each in self._in.hosts)
        large = [rack for rack, hosts in racks.items() if hosts > 1]
        if not large or (self._loser and not await self._in.is_whole(self._lost_s)):
            return
        rack, self._loser = self._rng.choice(large), ""
        if any(each.lacks_mislaid for each in self._in.hosts if each.rack != rack):
            return
        seconds, power = LONG_AWAY_S * (0.5 + self._rng.random() / 2), self._rng.random() < 0.5
        for host in self._in.hosts:
            if host.rack == rack and not host.machine.is_dead:
                host.stop_for(seconds, power=power)
        self._in.note("rack away")

    async def _pause_cluster(self) -> None:
        await self._say(commands.PauseCluster(True))
        resume = commands.PauseCluster(False)
        self._loop.in_world(self._rng.random() * 12, lambda: self._say_soon(resume))
        self._in.note("cluster paused")

    async def _wrong_clock(self) -> None:
        host = self._rng.choice(self._in.hosts)
        host.clock_off_s = self._rng.choice([-1, 1]) * (61 + self._rng.random() * 4_000)
        self._loop.in_world(5 + self._rng.random() * 5, lambda: setattr(host, "clock_off_s", 0.0))
        self._in.note("wrong clock")

    async def _replace_judge(self) -> None:
        self._in.replace_judge()
        self._in.note("judge replaced")

    async def _storm(self) -> None:
        weather = self._in.weather
        weather.is_bad = True
        self._loop.in_world(self._rng.random() * 4, lambda: setattr(weather, "is_bad", False))
        self._in.note("storm")

    async def _stall(self) -> None:
        """Nothing more is heard of a topic for a while, mostly in bad weather."""
        if self._rng.random() < 0.7:
            await self._storm()
        machine = self._rng.choice(self._everybody())
        machine.connection.stalls[self._rng.choice(TOPICS)] = self._loop.time() + self._rng.random() * 8
        self._in.note("stall")

    async def _slow_brokers(self) -> None:
        """What a gateway appends lands late; mostly while groups move."""
        if self._rng.random() < 0.7:
            await self._drain()
        gateway = self._rng.choice(self._in.gateways)
        gateway.connection.lands_late_until_s = self._loop.time() + self._rng.random() * 8
        self._in.note("slow brokers")

    async def _drain(self) -> None:
        """Not where it leaves fewer copies: an operator who does that has a node less to lose."""
        placement = self._in.placement()
        left = [name for name, node in placement.nodes.items() if is_candidate(node)]
        if len(left) > placement.copies:
            name = self._rng.choice(left)
            await self._say(commands.DrainNode(name, True))
            self._loop.in_world(self._rng.random() * 8, lambda: self._say_soon(commands.DrainNode(name, False)))
            self._in.note("drain")

    async def _retire(self) -> None:
        """A node is drained, stopped and removed, as by an operator who has no more use for it."""
        placement = self._in.placement()
        left = [
            host for host in self._in.hosts if host.name in placement.nodes and is_candidate(placement.nodes[host.name])
        ]
        if self._retiring is None and len(left) > placement.copies:
            host = self._rng.choice(left)
            again_s = self._rng.random() * AGAIN_S if self._rng.random() < 0.5 else 0.0
            self._retiring = self._loop.create_task(self._take_out(host, again_s))

    async def _take_out(self, host: Host, again_s: float) -> None:
        """`again_s`: when it is down something starts it once more, for so long."""
        placement = self._in.placement
        try:
            async with asyncio.timeout(RETIRED_S):
                await self._say(commands.DrainNode(host.name, True))
                while any(host.name in group.members for group in placement().groups):
                    await asyncio.sleep(0.1)
                host.is_retired = True
                host.die(power=False)
                while placement().is_up(host.name):
                    await asyncio.sleep(0.1)
                if again_s:
                    host.is_retired = False
                    host.start()
                    await asyncio.sleep(again_s)
                    host.is_retired = True
                    host.die(power=False)
                    self._in.note("node started again before it is removed")
                await self._remove(host)
        except TimeoutError as error:
            raise ReplicasConverge(f"{host.name} could not be drained and removed") from error
        self._in.hosts.remove(host)
        self._in.note("node removed")

    async def _remove(self, host: Host) -> None:
        """Again where it is back: its last words may land after it was removed."""
        gone_s = 0.0
        while gone_s < GONE_S:
            if host.name in self._in.placement().nodes:
                gone_s = 0.0
                if not self._in.placement().is_up(host.name):
                    await self._say(commands.RemoveNode(host.name))
            await asyncio.sleep(0.1)
            gone_s += 0.1

    def _everybody(self) -> list[Host | Front]:
        return [*self._in.hosts, *self._in.gateways]

    def _say_soon(self, body: commands.Body) -> None:
        self._loop.create_task(self._say(body))

    async def _join(self) -> None:
        if len(self._in.hosts) < 5:
            self._in.add_host()
            self._in.note("node added")

    async def _break_gateway(self) -> None:
        gateway = self._rng.choice(self._in.gateways)
        if not gateway.machine.is_dead:
            gateway.machine.die(silently=self._rng.random() < 0.5)
            self._loop.in_world(self._rng.random() * 2, gateway.start)
            self._in.note("gateway killed")

    async def _say(self, body: commands.Body) -> None:
        """As an operator."""
        await CommandSender(self._in.log, lambda: int(self._loop.time() * 1000))(body)


def _forget(slow_s: dict[str, float], name: str) -> None:
    slow_s.pop(name, None)
