"""What goes wrong in a whole cluster: what befalls owners and data nodes in their own worlds, and what is between them.

Machines that do not reach each other, or not the brokers; a gateway to which all is far; clocks that are set.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from tests.simulation.cluster import faults as of_owners
from tests.simulation.cluster.broker import Connection
from tests.simulation.data import faults as of_nodes
from tests.simulation.plan import Fault, carry_out, drawn, swarm
from tests.simulation.whole.gateway import Gateway

BETWEEN_S = 3.0
BEGUN_S = 1.0  # until a slow read goes on
CUT_OFF_S = 14.0  # longer than a gateway's lease, and than owners wait for a silent one
LOST_S = 12.5  # longer than commands have time
OWNERS = (
    "crash",
    "crash",
    "pause",
    "restart",
    "expel",
    "deafen",
    "twice",
    "storm",
    "storm",
    "stall",
    "usurp",
    "usurp",
    "shuffle",
    "fail_to_read",
    "answer_late",
    "forget",
)
NODES = (
    "crash",
    "crash",
    "pause",
    "slow",
    "slow",
    "fill",
    "lose",
    "damage",
    "lose_sectors",
    "hang",
    "lose_index",
    "drain",
    "wrong_clock",
    "stay_away",
    "break_gateway",
    "break_gateway",
)
BETWEEN = (
    "cut",
    "cut",
    "cut_off",
    "cut_off_reader",
    "cut_off_reader",
    "far",
    "far",
    "clocks",
    "acknowledge_late",
    "fail_to_follow",
    "lose_replies",
    "lose_replies",
)

FOLLOWED = ("owners", "owners", "replies", "commands", "events", "readers", "placement", "writes", "heartbeats")


class World(of_owners.Cluster, of_nodes.DataPlane, Protocol):
    @property
    def gateways(self) -> Sequence[Gateway]: ...

    def read_slowly(self, gateway: Gateway) -> None:
        """From it, and what is read is replaced by way of the others."""
        ...

    def members(self) -> list[str]:
        """The names of all machines of the time."""
        ...


class Faults:
    def __init__(self, world: World, acts_s: Sequence[float], rng: random.Random) -> None:
        self._in = world
        self._rng = world.rng
        self._loop = world.loop
        self._owners = of_owners.Faults(world, (), rng)
        self._nodes = of_nodes.Faults(world, (), rng)
        kinds = [f"owners {each}" for each in OWNERS] + [f"nodes {each}" for each in NODES] + list(BETWEEN)
        taken = swarm(rng, Counter(kinds))
        self.planned: list[Fault] = []
        for act, act_s in enumerate(acts_s):
            self.planned += drawn(rng, act, taken, act_s, lambda: rng.random() * rng.choice([0.3, BETWEEN_S]))

    async def run(self, act: int) -> None:
        await carry_out((each for each in self.planned if each.act == act), self.befall)

    async def befall(self, fault: Fault) -> None:
        self._rng = fault.choices()
        whose, _, kind = fault.kind.rpartition(" ")
        match whose:
            case "owners":
                await self._owners.befall(fault._replace(kind=f"_{kind}"))
            case "nodes":
                await self._nodes.befall(fault._replace(kind=f"_{kind}"))
            case _:
                await getattr(self, f"_{kind}")()

    async def end(self) -> None:
        """Afterwards all is well, as soon as those that are away are back."""
        for _, connection in self._in.machines():
            connection.is_cut = False
            connection.fails.clear()
        await self._owners.end()
        await self._nodes.end()

    async def _cut(self) -> None:
        """Two machines do not reach each other."""
        cut, pair = self._in.network.cut, frozenset(self._rng.sample(self._in.members(), 2))
        cut.add(pair)
        self._loop.in_world(self._rng.random() * 8, lambda: cut.discard(pair))
        self._in.note("two machines are cut off from each other")

    async def _cut_off(self) -> None:
        """A machine does not reach the brokers."""
        self._cut_off_for(self._rng.choice(self._in.machines())[1], (0.3 + 0.7 * self._rng.random()) * CUT_OFF_S)
        self._in.note("a machine is cut off from the brokers")

    async def _cut_off_reader(self) -> None:
        """A gateway does not reach the brokers while somebody reads from it slowly, and others replace what is read."""
        gateway = self._rng.choice(self._in.gateways)
        self._in.read_slowly(gateway)
        await asyncio.sleep(BEGUN_S)
        self._cut_off_for(gateway.connection, (0.7 + 0.3 * self._rng.random()) * CUT_OFF_S)
        self._in.note("a gateway is cut off from the brokers while it is read from")

    def _cut_off_for(self, connection: Connection, seconds: float) -> None:
        connection.is_cut = True
        self._loop.in_world(seconds, lambda: setattr(connection, "is_cut", False))

    async def _far(self) -> None:
        """All that a gateway asks of data nodes takes long."""
        slow_s, name = self._in.network.slow_s, self._rng.choice(self._in.gateways).name
        slow_s[name] = self._rng.choice([0.1, 0.2, 0.3])
        self._loop.in_world(4 + self._rng.random() * 6, lambda: _forget(slow_s, name))
        self._in.note("a gateway is far away")

    async def _clocks(self) -> None:
        """Of processes, by more than commands have time; the log's by less than blobs have."""
        by_s = self._rng.choice([1.0, 40.0, of_owners.SKEW_MAX_S]) * (self._rng.random() * 2 - 1)
        whose = self._rng.choice([["log"], ["processors"], [each.name for each in self._in.gateways]])
        for each in whose:
            self._in.skews_s[each] = by_s
        self._in.note("clocks set")

    async def _fail_to_follow(self) -> None:
        """Whoever follows a topic on a machine is told that it cannot be read."""
        _, connection = self._rng.choice(self._in.machines())
        connection.fails.add(self._rng.choice(FOLLOWED))
        self._in.note("a topic cannot be followed")

    async def _lose_replies(self) -> None:
        """A gateway hears for so long no replies that it gives up what it asked for, and what was done."""
        connection = self._rng.choice(self._in.gateways).connection
        connection.stalls["replies"] = self._loop.time() + LOST_S * (1 + self._rng.random() / 2)
        self._in.note("replies lost")

    async def _acknowledge_late(self) -> None:
        """What a machine appends lands, and it is told so much later."""
        _, connection = self._rng.choice(self._in.machines())
        connection.is_told_late = True
        self._loop.in_world(self._rng.random() * 6, lambda: setattr(connection, "is_told_late", False))
        self._in.note("acknowledged late")


def _forget(slow_s: dict[str, float], name: str) -> None:
    slow_s.pop(name, None)
