"""A gateway process: the real app over the simulated log, owners and data nodes, put together as in `bucketlog.roles`."""

import asyncio
from collections.abc import Callable
from functools import partial

from starlette.types import ASGIApp

from datanode.placement import PlacementMap
from gateway import context
from gateway.app import S3App
from tests.simulation.cluster import gateway
from tests.simulation.cluster.broker import Connection, Weather
from tests.simulation.cluster.gateway import Find
from tests.simulation.cluster.processor import Processor
from tests.simulation.data.clients import blobs_of
from tests.simulation.data.network import Machine, Network
from tests.simulation.whole.http import REGION, Keys
from topics.log import LogError
from topics.memory import MemoryLog

AGAIN_S = 1.0
RESTART_S = 1.0  # behind what `/healthz` tells


class Gateway:
    def __init__(
        self,
        number: int,
        network: Network,
        log: MemoryLog,
        weather: Weather,
        find: Find,
        clock_ms: Callable[[str], int],
        minted_s: Callable[[str], float],
    ) -> None:
        """`clock_ms`: what its machine's clock says; `minted_s`: the same, for the ids of blobs."""
        self.name = f"gateway-{number}"
        self._number = number
        self._network = network
        self._log = log
        self._weather = weather
        self._find = find
        self._clock_ms = clock_ms
        self._minted_s = minted_s
        self._boots = 0
        self.start()

    def start(self) -> None:
        self._boots += 1
        network = self._network
        self.app: ASGIApp | None = None
        self.machine = Machine(network.loop, self.name, network.rng.random() * 1e6)
        self.connection = Connection(self._log, self.machine, self._weather)
        self.machine.run(self._live())

    async def _live(self) -> None:
        machine, connection, known = self.machine, self.connection, PlacementMap()
        blobs = blobs_of(self._network, machine, connection, known, lambda: self._minted_s(self.name))
        metadata = gateway.Gateway(
            self._number,
            f"{self.name}-{self._boots}",
            machine,
            connection,
            self._weather,
            self._reached,
            lambda: self._clock_ms(self.name),
        )
        while True:
            try:
                await metadata.start()
                break
            except LogError:
                await asyncio.sleep(AGAIN_S)
        made = context.Gateway(metadata.reads, blobs, metadata.commander, Keys(), REGION, open_reads=metadata.open_reads)
        self.app = S3App(made)
        work = [*metadata.work, asyncio.create_task(known.run(connection))]
        await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        self._network.note("gateway restarted, as a part of it had ended")
        self._network.loop.in_world(RESTART_S, partial(self._restart, machine))

    def _restart(self, machine: Machine) -> None:
        if machine is self.machine and not machine.is_dead:
            machine.die(silently=False)
            self.start()

    def _reached(self, endpoint: str) -> Processor | None:
        """Who listens there, and can be reached from here."""
        is_cut = self._network.is_cut(self.name, endpoint.removeprefix("http://"))
        return None if is_cut else self._find(endpoint)
