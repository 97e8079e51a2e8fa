"""Who owns the metadata: the real runtimes of two partitions, housekeeping, the judge of nodes, the publisher of the map.

It is always well: its faults are those of the simulated cluster.
"""

import asyncio
import random

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


class Owner:
    def __init__(self, connection: Connection, replies: Replies, nodes: Nodes) -> None:
        self._log = connection
        self._nodes = nodes
        self._judge_replaced = asyncio.Event()
        self.open_reads = OpenReads()
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
        send = CommandSender(self._log, clock_ms)
        owned = Owned(lambda: {PARTITION: self.views[PARTITION]}, lambda _: True)
        disk = SimulatedDisk(random.Random(0))
        auditor = Auditor(self._log, owned, self.placement, self._nodes, disk, clock_ms, AUDIT_PACE_S, AUDIT_EVERY_S)
        await asyncio.gather(
            auditor.run(),
            *(runtime.run_alone() for runtime in self._runtimes.values()),
            keep_house(self._log, lambda: self._runtimes, self.open_reads, clock_ms, RELEASE_AFTER_S),
            self._judge(send),
            publish_placement(self._log, lambda: control),
        )

    async def _judge(self, send: CommandSender) -> None:
        loop = asyncio.get_running_loop()
        while True:
            judge = Judge(self._log, Liveness(self._log.identity, LIMITS), SECRET, self.placement, send, COPIES)
            judging = loop.create_task(drive(self._log, judge, lambda: True))
            replaced = loop.create_task(self._judge_replaced.wait())
            await asyncio.wait([judging, replaced], return_when=asyncio.FIRST_COMPLETED)
            if judging.done():
                judging.result()
            self._judge_replaced.clear()
            loop.call_later(JUDGES_OVERLAP_S, judging.cancel)
