"""One seeded data plane: data nodes on disks that forget, gateways, and who owns the metadata, on one log; then the checks.

Faults of all kinds at once, twice; all is well again each time, and everything must come together; then one fault alone,
which may cost time and no answer.
"""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar

from datanode.compaction import Compactor
from tests.simulation.cluster.base import ProcessWorld
from tests.simulation.cluster.broker import Connection, Weather
from tests.simulation.cluster.processes import Process
from tests.simulation.data import checks, scale
from tests.simulation.data.clients import Client, Gateway, Gateways, History
from tests.simulation.data.faults import Faults
from tests.simulation.data.host import TIMES, Host
from tests.simulation.data.network import Machine, Network, SimulatedNode
from tests.simulation.data.owner import BUCKET, INCARNATION, LIMITS, Owner
from tests.simulation.data.watch import Watch
from tests.simulation.disk import SimulatedDisk
from tests.simulation.invariants import (
    EveryRequestIsAnswered,
    NoAcknowledgedWriteIsLost,
    NodesFailAsTheySay,
    ReplicasConverge,
    VolumesRest,
)
from tests.simulation.plan import Fault
from tests.simulation.plants import Patch
from topics import commands
from topics.log import Entry
from topics.memory import MemoryLog
from topics.placement import Placement
from topics.sender import CommandSender
from topics.spec import TopicPartition

GATEWAYS, CLIENTS_EACH = 2, 2
TROUBLE_S, ALONE_S = (9.0, 9.0), 6.0
THINK_S, THINK_ALONE_S = 0.35, 0.4
READY_S, CONVERGED_S, RESTED_S = 15.0, 60.0, 15.0
ANSWER_S = 2.0
LATENESS_S = (0.1, 6.0)  # shorter than the age of an orphan: nothing is on its way for hours
P = ParamSpec("P")
T = TypeVar("T")


class DataWorld(ProcessWorld[Faults]):
    def __init__(self, seed: int, faults: Sequence[Fault] | None = None) -> None:
        super().__init__(seed)
        self.weather = Weather(self.rng, self.note, LATENESS_S)
        self.log = MemoryLog("the log", lambda: int(self.loop.time() * 1000))
        self.network = Network(self.loop, self.weather, self.rng, self.note)
        self.history = History()
        self.clients: list[Client] = []
        self.hosts: list[Host] = []
        self.gateways: list[Gateway] = []
        self.owner: Owner
        self._numbers = itertools.count()
        self.racks = self.rng.choice([0, 0, 2, 3])  # 0: each node is a failure domain of its own
        self._watch = Watch(self)
        self.log.land = self._watched(self.log.land)  # type: ignore[method-assign]
        self._suffer_from(Faults(self, TROUBLE_S, random.Random(f"faults {seed}")), faults)

    def _shrink(self, patch: Patch) -> None:
        scale.shrink(patch)
        patch.setattr(Compactor, "_copy_large", self._noted(Compactor._copy_large, "large blob compacted"))

    def _reached_by_clients(self) -> Counter[str]:
        return self.history.reached

    def _disks(self) -> Iterable[SimulatedDisk]:
        return [each.disk for each in self.hosts]

    # what faults act on

    def _noted(self, work: Callable[P, T], what: str) -> Callable[P, T]:
        def noted(*args: P.args, **kwargs: P.kwargs) -> T:
            self.note(what)
            return work(*args, **kwargs)

        return noted

    def _watched(self, land: Callable[[TopicPartition, Sequence[Entry]], list[int]]) -> Callable[..., list[int]]:
        def landed(at: TopicPartition, entries: Sequence[Entry]) -> list[int]:
            if at.topic == "writes":
                self._watch.landed(at.partition, entries)
            return land(at, entries)

        return landed

    def add_host(self) -> None:
        number, size = next(self._numbers), self.rng.choice([1, 1, 2]) << 30
        rack = f"rack-{number % self.racks}" if self.racks else ""
        host = Host(number, self.network, self.log, self.weather, rack, size)
        self.hosts.append(host)
        host.start()

    def placement(self) -> Placement:
        return self.owner.placement()

    def replace_judge(self) -> None:
        self.owner.replace_judge()

    async def is_whole(self, since_s: float) -> bool:
        if any(each.writing_since_s is not None and each.writing_since_s <= since_s for each in self.clients):
            return False
        return await checks.is_whole(self.log, self.placement(), self.hosts)

    # the acts

    async def _live(self) -> None:
        await self._start()
        both = self.loop.create_task(self._watch.run()), self.loop.create_task(self._suffer())
        ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for each in ended:
            each.result()

    async def _suffer(self) -> None:
        for act, act_s in enumerate(TROUBLE_S):
            clients = self._clients(self.loop.time() + act_s, THINK_S)
            await self._trouble.run(act)
            await asyncio.gather(*clients)
            await self._trouble.end()
            await self._converges()

        self.history.unanswered.clear()
        self.history.longest_s = 0.0
        clients = self._clients(self.loop.time() + ALONE_S, THINK_ALONE_S)
        await asyncio.sleep(self.rng.random() * 2)
        await self._trouble.run(len(TROUBLE_S))
        await asyncio.gather(*clients)
        if self.history.unanswered:
            raise EveryRequestIsAnswered(f"after one fault alone, not {self.history.unanswered}")
        if self.history.longest_s > ANSWER_S:
            raise EveryRequestIsAnswered(f"one took {self.history.longest_s:.1f} s")
        await self._trouble.end()
        await self._converges()

    async def _start(self) -> None:
        await self.log.create_topics(scale.TOPICS)
        gateways = Gateways(self.network)
        process = Process(self.loop, 0.0)
        connection = Connection(self.log, process, Weather(self.rng, self.note))
        auditor = Machine(self.loop, "auditor", 0.0)
        nodes = lambda endpoint: SimulatedNode(self.network, auditor, endpoint)  # noqa: E731
        self.owner = Owner(connection, gateways, nodes, process.clock_s)
        process.run(self.owner.run())
        self.gateways = gateways.all
        for number in range(GATEWAYS):
            self.gateways.append(Gateway(number, self.network, self.log, self.weather))
        for _ in range(self.rng.choice([3, 3, 4, 4])):
            self.add_host()
        send = CommandSender(self.log, lambda: int(self.loop.time() * 1000))
        await send(commands.CreateBucket(BUCKET, INCARNATION, "us-east-1"))
        until_s = self.loop.time() + READY_S
        while why := await checks.not_whole(self.log, self.placement(), self.hosts):
            if self.loop.time() > until_s:
                raise ReplicasConverge(f"not at the start: {why}")
            await asyncio.sleep(0.25)

    def _clients(self, until_s: float, think_s: float) -> list[asyncio.Task[None]]:
        self.clients = [
            Client(number, gateway, self.owner, self.history, self.network, self._watch)
            for number, gateway in enumerate(self.gateways * CLIENTS_EACH)
        ]
        return [self.loop.create_task(each.run(until_s, think_s)) for each in self.clients]

    async def _converges(self) -> None:
        until_s = self.loop.time() + CONVERGED_S
        while why := await checks.not_converged(self.log, self.placement(), self.owner.views.values(), self.hosts):
            if self.loop.time() > until_s:
                raise ReplicasConverge(f"{CONVERGED_S} s after all was well: {why}")
            await asyncio.sleep(0.5)
        if self.network.failures:
            raise NodesFailAsTheySay(f"{self.network.failures}")
        await checks.check_views(self.log, self.owner.views)
        await checks.check_brakes(self.log)
        await checks.check_full_nodes(self.log)
        await checks.check_new_holders(self.log)
        await checks.check_removed_stay_away(self.log)
        await checks.check_nobody_fell(self.log, LIMITS.grace_ms)
        rows = self.owner.objects()
        for key in self.history.possible:
            found = int(rows[key].etag) if key in rows else None
            if found not in self.history.allowed(key):
                raise NoAcknowledgedWriteIsLost(f"{key} is {found}, not {self.history.allowed(key)}")
            try:
                await self.gateways[0].machine.run(self.clients[0].read(key))
            except OSError as error:
                raise NoAcknowledgedWriteIsLost(f"{error}") from error
        await self._rest()

    async def _rest(self) -> None:
        until_s = self.loop.time() + RESTED_S
        before = None
        while before != (before := {host.name: sorted(host.disk.files("volumes")) for host in self.hosts}):
            if self.loop.time() > until_s:
                raise VolumesRest(f"volumes are still compacted {RESTED_S} s after all was well: {before}")
            await asyncio.sleep(1.1 * TIMES.compact_every_s)
