"""A processor process with all that it does: it owns partitions, judges data nodes, publishes their map, audits blobs."""

import asyncio
from collections.abc import Callable

from bucketlog.audit import Owned
from processors.view import Readable
from tests.simulation.cluster import processor
from tests.simulation.cluster.broker import Connection, Weather
from tests.simulation.cluster.coordinator import Coordinator
from tests.simulation.cluster.owners import Views
from tests.simulation.data.network import Machine, Network, SimulatedNode
from tests.simulation.data.owner import care_for_nodes
from topics.spec import CONTROL_PARTITION


class Processor(processor.Processor):
    def __init__(
        self,
        name: str,
        machine: Machine,
        connection: Connection,
        weather: Weather,
        coordinator: Coordinator,
        views: Views,
        clock_ms: Callable[[], int],
        network: Network,
        when_ended: Callable[[str], None],
    ) -> None:
        """`when_ended`: told its name where a part of it has ended that must not."""
        super().__init__(name, machine, connection, weather, coordinator, views, clock_ms)
        self._machine = machine
        self._network = network
        self.judge_replaced = asyncio.Event()
        self._when_ended = when_ended
        self._is_stopping = False

    async def start(self) -> None:
        await super().start()
        views = self.ownership.views
        care = care_for_nodes(
            self.connection,
            Owned(self._owned, self.leases.is_held),
            views[CONTROL_PARTITION],
            lambda: self._owned().get(CONTROL_PARTITION),
            lambda endpoint: SimulatedNode(self._network, self._machine, endpoint),
            self._clock_ms,
            lambda: CONTROL_PARTITION in self.ownership.runtimes,
            self.judge_replaced,
        )
        self._tasks += map(asyncio.create_task, care)
        self._watching = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        self._is_stopping = True
        await super().stop()

    async def _watch(self) -> None:
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        if not self._is_stopping:
            self._when_ended(self._machine.name)

    def _owned(self) -> dict[int, Readable]:
        return {number: runtime.view for number, runtime in self.ownership.runtimes.items()}
