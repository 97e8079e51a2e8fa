"""A processor process: the real parts, put together as in `bucketlog.roles`."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from processors import service
from processors.housekeeping import keep_house
from processors.leases import Leases
from processors.memory import MemoryView
from processors.ownership import Ownership
from processors.readers import LogReaders
from processors.reads import ViewReads
from processors.replies import LogReplies
from tests.simulation.cluster.broker import Connection, Weather
from tests.simulation.cluster.coordinator import Coordinator, Member
from tests.simulation.cluster.processes import Process

RELEASE_AFTER_S = 1.0


class Processor:
    def __init__(
        self,
        name: str,
        process: Process,
        connection: Connection,
        weather: Weather,
        coordinator: Coordinator,
        views: Mapping[int, MemoryView],
        clock_ms: Callable[[], int],
    ) -> None:
        self.endpoint = f"http://{name}"
        self.process = process
        self.connection = connection
        self.leases = Leases(connection, name, self.endpoint, process.clock_s)
        self.ownership = Ownership(connection, views.__getitem__, name, self.leases, LogReplies(connection))
        self.member = Member(coordinator, process, self.ownership)
        self._weather = weather
        self._clock_ms = clock_ms
        self.readers = LogReaders(connection, name, process.clock_s)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False

    async def start(self) -> None:
        house = keep_house(self.connection, lambda: self.ownership.runtimes, self.readers, self._clock_ms, RELEASE_AFTER_S)
        self._tasks = [asyncio.create_task(each) for each in (self.leases.run(), self.readers.run(), house)]
        self.ownership.start()
        self.member.start()

    def ended(self) -> list[str]:
        """What does not run any more, and should."""
        if self.process.is_dead or self._is_stopping:
            return []
        parts = [f"{self.endpoint}: {each.exception()!r}" for each in self._tasks if each.done()]
        return parts + [f"{self.endpoint}: partition {number}: {why!r}" for number, why in self.ownership.stopped.items()]

    async def stop(self) -> None:
        self._is_stopping = True
        await self.member.stop()
        await self.ownership.hand_over()
        await self.ownership.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def answer(self, partition: int, operation: str, arguments: tuple[Any, ...]) -> Any:
        """As the read service does. Raises `NotHeld`."""
        reads = ViewReads({partition: self.ownership.views[partition]})

        async def read() -> Any:
            self.process.reach("lease looked at")
            await asyncio.sleep(self._weather.delay_s())
            return await getattr(reads, operation)(*arguments)

        return await service.while_held(self.leases.is_held, partition, read)
