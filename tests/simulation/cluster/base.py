"""What worlds of several processes share: a seed, one loop, the faults that are planned, and what was reached."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec
import pytest

from tests.simulation.cluster.processes import ClusterLoop
from tests.simulation.disk import SimulatedDisk
from tests.simulation.outside import nothing_from_outside
from tests.simulation.plan import Fault
from tests.simulation.plants import Patch
from topics.memory import MemoryLog

START_S = 1_700_000_000.0


class Trouble(Protocol):
    planned: list[Fault]


F = TypeVar("F", bound=Trouble)


class ProcessWorld(ABC, Generic[F]):
    log: MemoryLog
    _trouble: F

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.rng = random.Random(seed)
        self.loop = ClusterLoop(self.rng, START_S)
        self.reached: Counter[str] = Counter()

    @property
    def faults(self) -> list[Fault]:
        return self._trouble.planned

    def run(self) -> None:
        """Raises `InvariantBroken`."""
        with nothing_from_outside(self._seed, self.loop.time):
            self._run()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            with pytest.MonkeyPatch.context() as patch:
                self._shrink(patch)
                self.loop.run_until_complete(self._live())
        finally:
            self.loop.close()
            asyncio.set_event_loop(None)
            self.reached += self._reached_by_clients()

    @property
    def now_s(self) -> float:
        return self.loop.now_s

    def remains(self) -> Iterator[bytes]:
        """What is in its log and on its disks."""
        for partition in self.log._partitions.values():
            yield from map(msgspec.msgpack.encode, partition.records)
        for disk in self._disks():
            yield from disk.contents()

    def _disks(self) -> Iterable[SimulatedDisk]:
        return ()

    def note(self, what: str) -> None:
        self.reached[what] += 1

    def _suffer_from(self, trouble: F, faults: Sequence[Fault] | None) -> None:
        """`faults`: others than those that `trouble` has planned."""
        self._trouble = trouble
        if faults is not None:
            trouble.planned = list(faults)

    @abstractmethod
    def _shrink(self, patch: Patch) -> None:
        """Product settings as this world needs them."""

    @abstractmethod
    async def _live(self) -> None: ...

    @abstractmethod
    def _reached_by_clients(self) -> Counter[str]: ...
