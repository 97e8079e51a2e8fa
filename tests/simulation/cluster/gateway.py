"""A gateway: the real `Commander` and search for an owner; replies and questions go through the simulated network."""

import asyncio
from collections.abc import Callable
from typing import Any

from gateway import open_reads
from gateway.open_reads import OpenReads
from gateway.submit import Commander, listen
from processors.remote import ATTEMPT, OwnerReads, Unanswered
from processors.service import NotHeld
from tests.simulation.cluster.broker import Connection, Weather
from tests.simulation.cluster.processes import Process
from tests.simulation.cluster.processor import Processor
from topics import replies, spec
from topics.spec import TopicPartition

PATIENCE_S = 20.0  # longer than the real one's: what a processor answers late must be true, too
Find = Callable[[str], Processor | None]


class SimulatedReads(OwnerReads):
    def __init__(self, connection: Connection, find: Find, weather: Weather) -> None:
        super().__init__(connection)
        self._find = find
        self._weather = weather

    async def _attempt(self, endpoint: str, partition: int, operation: str, arguments: tuple[Any, ...]) -> Any:
        await asyncio.sleep(self._weather.delay_s())
        owner = self._find(endpoint)
        if owner is None:
            raise Unanswered(f"{endpoint} cannot be reached")
        asked = owner.process.run(owner.answer(partition, operation, arguments))
        patience_s = PATIENCE_S if self._weather.is_bad else ATTEMPT.total
        await asyncio.wait({asked}, timeout=patience_s)
        await asyncio.sleep(self._weather.delay_s())
        if not asked.done():
            raise Unanswered(f"{endpoint} is silent")
        try:
            return asked.result()
        except NotHeld as error:
            raise Unanswered(str(error)) from error


class Gateway:
    def __init__(
        self,
        number: int,
        name: str,
        process: Process,
        connection: Connection,
        weather: Weather,
        find: Find,
        clock_ms: Callable[[], int],
    ) -> None:
        self.process = process
        self.connection = connection
        self._find = find
        self._weather = weather
        self._at = TopicPartition("replies", number % spec.REPLIES.partitions)
        self._address = replies.address(self._at.partition, name)
        self.commander = Commander(connection, self._address, clock_ms, durable=True)
        self.reads: SimulatedReads
        self.work: list[asyncio.Task[None]] = []  # that must not end
        self.open_reads = OpenReads(clock_s=process.clock_s, needs_lease=True)

    async def start(self) -> None:
        self.reads = SimulatedReads(self.connection, self._find, self._weather)
        start = await self.connection.latest(self._at)
        words = open_reads.say(self.connection, self._address, self.open_reads, self.process.clock_s)
        listening = listen(self.connection, self._at, start, self.commander, self._address)
        work = (listening, open_reads.follow(self.connection, self.open_reads), words)
        self.work = [asyncio.create_task(each) for each in work]

    def ended(self) -> list[str]:
        """What does not run any more, and should."""
        return [f"{self._address}: {each.exception()!r}" for each in self.work if each.done()]
