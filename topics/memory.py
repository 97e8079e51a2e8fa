"""The memory adapter of `Log`, for tests and the simulation, with knobs for what a real log does on a bad day.

Knobs: `fail_next` (the next durable append fails and leaves nothing), `fail_late` (it fails, yet its records land when
`land_late` is called), `hold` (acknowledgements wait until it is set again), `lose_unsynced` (a power cut), `repeats` (for
what is brought twice, with `land`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from topics.log import Entry, LogError, Record, check_size
from topics.partition import Partition, Partitions, follow
from topics.spec import TopicPartition, TopicSpec


class MemoryLog:
    def __init__(self, identity: str, clock_ms: Callable[[], int]) -> None:
        self.identity = identity
        self.repeats = False
        self.fail_next = 0
        self.fail_late = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self._clock_ms = clock_ms
        self._partitions = Partitions()
        self._late: list[tuple[TopicPartition, list[Entry]]] = []

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        for spec in specs:
            have = [at for at in self._partitions if at.topic == spec.name]
            if have and len(have) != spec.partitions and not (spec.grows and len(have) < spec.partitions):
                raise LogError(f"topic {spec.name} has {len(have)} partitions, not {spec.partitions}")
            for number in range(spec.partitions):
                at = TopicPartition(spec.name, number)
                self._partitions.setdefault(at, Partition(at, spec))

    async def append(self, at: TopicPartition, entries: Sequence[Entry], *, durable: bool) -> list[int]:
        check_size(entries)
        partition = self._partitions[at]
        if durable:
            await self.hold.wait()
            if self.fail_next:
                self.fail_next -= 1
                raise LogError("append failed (by the test's wish)")
            if self.fail_late:
                self.fail_late -= 1
                self._late.append((at, list(entries)))
                raise LogError("append not acknowledged (by the test's wish)")
        offsets = self._add(partition, entries)
        if durable:
            for each in self._partitions.values():
                each.made_durable(each.next_offset)
            await asyncio.sleep(0)
        return offsets

    def land(self, at: TopicPartition, entries: Sequence[Entry]) -> list[int]:
        """Records arrive now and are durable, whoever sent them and whether or not somebody waits for that."""
        partition = self._partitions[at]
        offsets = self._add(partition, entries)
        partition.made_durable(partition.next_offset)
        return offsets

    async def read(self, at: TopicPartition, offset: int, *, records_max: int = 1_000) -> list[Record]:
        return self._partitions[at].read(offset, records_max)

    def follow(self, at: TopicPartition, offset: int) -> AsyncIterator[list[Record]]:
        return follow(self._partitions[at], offset, self.read)

    async def earliest(self, at: TopicPartition) -> int:
        return self._partitions[at].earliest

    async def latest(self, at: TopicPartition) -> int:
        return self._partitions[at].visible_below

    async def trim(self, at: TopicPartition, before: int) -> None:
        self._partitions[at].trim(before)

    def land_late(self) -> None:
        """Let appends that failed by `fail_late` arrive after all."""
        late, self._late = self._late, []
        for at, entries in late:
            self.land(at, entries)

    def lose_unsynced(self) -> None:
        """What a power cut does: records that no durable append covered are gone, and their offsets with them."""
        for partition in self._partitions.values():
            partition.drop_between(partition.durable_below, partition.next_offset)
            partition.next_offset = partition.durable_below

    def _add(self, partition: Partition, entries: Sequence[Entry]) -> list[int]:
        now = self._clock_ms()
        first = partition.next_offset
        records = [Record(first + i, now, entry.key, entry.value) for i, entry in enumerate(entries)]
        if records:
            partition.add(records)
        return [record.offset for record in records]
