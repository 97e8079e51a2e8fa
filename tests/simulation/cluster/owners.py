"""The processors of a cluster, each in its slot, and what outlives their processes: views, and the group that assigns."""

import random
from collections.abc import Callable, Mapping, Sequence

from processors.memory import MemoryView
from tests.simulation.cluster.coordinator import Coordinator
from tests.simulation.cluster.processes import ClusterLoop
from tests.simulation.cluster.processor import Processor
from topics import spec

Views = Mapping[int, MemoryView]


class Owners:
    def __init__(
        self,
        partitions: Sequence[int],
        loop: ClusterLoop,
        rng: random.Random,
        make: Callable[[str, Coordinator, Views], Processor],
    ) -> None:
        """`make`: a processor of a name in a process of its own, not started."""
        self._partitions = partitions
        self._rng = rng
        self._make = make
        self._started = 0
        self.coordinator = Coordinator(partitions, rng, loop.time)
        self._views = [_no_views() for _ in range(rng.choice([2, 2, 3]))]
        self.processors = [self._processor(slot) for slot in range(len(self._views))]

    def start(self, slot: int) -> None:
        made = self.processors[slot] = self._processor(slot)
        made.process.run(made.start())

    def lose_views(self, slot: int) -> None:
        """Some of what was folded last, as in a power cut, or all."""
        if self._rng.random() < 0.3:
            self._views[slot] = _no_views()
            return
        for partition in self._partitions:
            self._views[slot][partition].lose_last(self._rng.randrange(4))

    def find(self, endpoint: str) -> Processor | None:
        """Who listens there."""
        return next((each for each in self.processors if each.endpoint == endpoint and not each.process.is_dead), None)

    def _processor(self, slot: int) -> Processor:
        self._started += 1
        return self._make(f"processor-{slot}-{self._started}", self.coordinator, self._views[slot])


def _no_views() -> dict[int, MemoryView]:
    return {number: MemoryView() for number in range(spec.EVENTS.partitions)}
