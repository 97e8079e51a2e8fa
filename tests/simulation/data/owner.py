"""Who owns the metadata: the real runtimes of two partitions, housekeeping, the judge of nodes, the publisher of the map.

It is always well: its faults are those of the simulated cluster.
"""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from bucketlog.audit import Auditor, Owned
from datanode.node import Nodes
from gateway.open_reads import OpenReads
from processors.housekeeping import keep_house
from processors.judge import Judge
from processors.liveness import Limits, Liveness
from processors.machine import tables
from processors.memory import MemoryView
from processors.placement import publish_placement
from processors.replica import Replica
from processors.runtime import PartitionRuntime, Replies
from processors.view import Readable
from tests.simulation.cluster.broker import Connection
from tests.simulation.data.host import SECRET
from tests.simulation.disk import SimulatedDisk
from tests.simulation.judging import drive
from topics import spec
from topics.placement import COPIES, Placement
from topics.sender import CommandSender

LIMITS = Limits(grace_ms=4_000, out_ms=8_000, stall_ms=2_500)
RELEASE_AFTER_S = 1.0
JUDGES_OVERLAP_S = 1.5  # one that was replaced is not told at once
AUDIT_PACE_S, AUDIT_EVERY_S = 0.5, 4.0
BUCKET, INCARNATION = "alpha", "alpha".ljust(32, "0")
PARTITION = spec.bucket_partition(BUCKET)


class Care(NamedTuple):
    """What whoever owns metadata does for data nodes, each for ever."""

    auditing: Coroutine[Any, Any, None]
    judging: Coroutine[Any, Any, None]
    publishing: Coroutine[Any, Any, None]


def care_for_nodes(
    log: Connection,
    owned: Owned,
    followed: Readable,
    control: Callable[[], Readable | None],
    nodes: Nodes,
    clock_ms: Callable[[], int],
    is_judge: Callable[[], bool],
    judge_replaced: asyncio.Event,
) -> Care:
    """`followed`: the control partition as it is known here; `control`: while it is owned here.

    `judge_replaced`: when it is set, another judge follows, which has heard nothing yet.
    """

    def placement() -> Placement:
        return tables.placement(followed)

    def judge() -> Judge:
        return Judge(log, Liveness(log.identity, LIMITS), SECRET, placement, CommandSender(log, clock_ms), COPIES)

    disk = SimulatedDisk(random.Random(0))
    return Care(
        Auditor(log, owned, placement, nodes, disk, clock_ms, AUDIT_PACE_S, AUDIT_EVERY_S).run(),
        _judge(log, judge, is_judge, judge_replaced),
        publish_placement(log, control),
    )


async def _judge(
    log: Connection, judge: Callable[[], Judge], is_judge: Callable[[], bool], replaced: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        judging, another = loop.create_task(drive(log, judge(), is_judge)), loop.create_task(replaced.wait())
        try:
            await asyncio.wait([judging, another], return_when=asyncio.FIRST_COMPLETED)
        finally:
            another.cancel()
            loop.call_later(JUDGES_OVERLAP_S, judging.cancel)
        if judging.done():
            judging.result()
        replaced.clear()


class Owner:
    def __init__(self, connection: Connection, replies: Replies, nodes: Nodes, clock_s: Callable[[], float]) -> None:
        self._log = connection
        self._nodes = nodes
        self._judge_replaced = asyncio.Event()
        self.open_reads = OpenReads(clock_s=clock_s)
        self.views = {number: MemoryView() for number in (PARTITION, spec.CONTROL_PARTITION)}
        self._runtimes = {
            number: PartitionRuntime(connection, Replica(connection, view, number), "owner", replies)
            for number, view in self.views.items()
        }

    def placement(self) -> Placement:
        return tables.placement(self.views[spec.CONTROL_PARTITION])

    def current(self, key: str) -> tables.Object | None:
        return tables.current(self.views[PARTITION], INCARNATION, key)

    def objects(self) -> dict[str, tables.Object]:
        return {key.decode(): row for key, row in tables.objects(self.views[PARTITION], INCARNATION)}

    def replace_judge(self) -> None:
        """By one that has heard nothing yet."""
        self._judge_replaced.set()

    async def run(self) -> None:
        def clock_ms() -> int:
            return int(asyncio.get_running_loop().time() * 1000)

        for runtime in self._runtimes.values():
            await runtime.claim()
        control = self.views[spec.CONTROL_PARTITION]
        owned = Owned(lambda: {PARTITION: self.views[PARTITION]}, lambda _: True)
        care = care_for_nodes(
            self._log, owned, control, lambda: control, self._nodes, clock_ms, lambda: True, self._judge_replaced
        )
        await asyncio.gather(
            care.auditing,
            *(runtime.run_alone() for runtime in self._runtimes.values()),
            keep_house(self._log, lambda: self._runtimes, self.open_reads, clock_ms, RELEASE_AFTER_S),
            care.judging,
            care.publishing,
        )
