"""One data node, put together: volumes, the groups that it serves, what it says of itself, its repairs.

Settling: each second, and after many bytes, the volumes are synced and how far each group's log is in them is stored; only
that is told to others. Damaged blobs are fetched from a peer and take their old place.
Errors: a disk or log that cannot be synced is told and tried again, and `disk_failure` says if that does not help;
`NodeReplaced`, and damage in the index, end the node.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from datanode import compaction, scrub
from datanode.compaction import Compactor
from datanode.fetch import Fetch, Wanted
from datanode.index import Entry
from datanode.local import LocalNode
from datanode.member import Identity, Member, Submit
from datanode.node import BlobUnavailable, Nodes
from datanode.orphans import EVERY_S, ORPHAN_AFTER_S, PACE_S, sweep
from datanode.placement import PlacementMap
from datanode.scrub import Scrubber
from datanode.store import Held, VolumeStore
from datanode.turns import COPY_BYTES_PER_S
from datanode.verdict import Verdict
from topics.log import Log, LogError
from topics.spec import TopicPartition

SETTLE_EVERY_S = 1.0
SETTLE_LOOK_S = 0.1
SETTLE_BYTES = 16 << 20  # of payloads that the log keeps, and a start may have to read again
SETTLE_RECORDS = 20_000
SETTLE_STREAMED_BYTES = 256 << 20  # of large blobs, which are synced each, but whose place a start may have to find again
SETTLING = "settling the volumes"
REPAIR_AGAIN_S = 5.0
IN_REPAIR_MAX = 10_000  # blobs that are known to be damaged: ~2 MB
log_ = logging.getLogger(__name__)


class Times(NamedTuple):
    """What an operator may set."""

    orphan_after_s: float = ORPHAN_AFTER_S
    sweep_pace_s: float = PACE_S
    sweep_every_s: float = EVERY_S
    copy_bytes_per_s: float = COPY_BYTES_PER_S
    compact_every_s: float = compaction.PERIOD_S
    scrub_every_s: float = scrub.PERIOD_S


class NodeService:
    def __init__(
        self,
        own: Identity,
        log: Log,
        store: VolumeStore,
        known: PlacementMap,
        nodes: Nodes,
        submit: Submit,
        clock_ms: Callable[[], int],
        times: Times = Times(),  # noqa: B008 - immutable
    ) -> None:
        self.own = own
        self.store = store
        self._log = log
        self._submit = submit
        self._clock_ms = clock_ms
        self._times = times
        self.fetch = Fetch(store, own.name, known, nodes, times.copy_bytes_per_s)
        self.member = Member(own, log, store, known, nodes, self.fetch, submit)
        served = self.member.replicas, known, nodes, self.member.holds
        self.node = LocalNode(own.name, store, *served, self.damaged, times.copy_bytes_per_s)
        self._verdict = Verdict(store.disk, store.hung)
        self.beyond_repair: set[tuple[int, bytes]] = set()
        self.repaired = 0
        self._damaged: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        self._in_repair: set[tuple[int, bytes]] = set()

    @property
    def positions(self) -> dict[int, int]:
        """Group → the offset of its `writes` below which everything is in synced volumes here."""
        return {number: each.synced for number, each in self.member.replicas.items() if each.synced is not None}

    @property
    def disk_failure(self) -> str:
        """Why the disk cannot be relied on; empty while it can."""
        return self._verdict.failure

    @property
    def used_bytes(self) -> int:
        usage = self.store.usage()
        return usage.live_bytes + usage.garbage_bytes

    @property
    def behind(self) -> dict[int, int]:
        """Group → blobs that are to be here and are not, yet."""
        found = {number: replica.wanted for number, replica in self.member.replicas.items() if replica.wanted}
        for number, copy in self.member.copies.items():
            found[number] = found.get(number, 0) + copy.remaining
        return found

    async def run(self) -> None:
        """For ever. Raises `NodeReplaced`, or `OSError` where the index is damaged: a start makes it anew."""
        work = (
            self.member.run(),
            self._keep_settled(),
            self._repair(),
            self._verdict.run(),
            self._sweep(),
            Compactor(self.store, self.damaged).run(self._times.compact_every_s),
            Scrubber(self.store, self.damaged).run(self._times.scrub_every_s),
        )
        tasks = [asyncio.create_task(each) for each in work]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def settle(self) -> None:
        """Sync the volumes; how far each group is in them is stored and told from here on.

        What was consumed is durable in the log before it counts: its offset could come again else, behind a power cut, with
        another record. Raises `OSError`, `LogError`.
        """
        started = [each for each in self.member.replicas.values() if each.is_started]
        replicas = [each for each in started if each.group not in self.member.lost]
        positions = {each.group: each.settled for each in replicas}
        if positions:
            await self._log.append(TopicPartition("writes", next(iter(positions))), [], durable=True)
        for each in started:
            each.unsettled_bytes = each.unsettled_records = 0
        held_back = await self.store.sync(positions)
        for each in replicas:
            if each.group not in held_back:
                each.synced = positions[each.group]

    async def stop(self) -> None:
        """What cannot be settled any more, the next start reads again."""
        try:
            await self.settle()
        except (OSError, LogError) as error:
            log_.error("the volumes could not be settled at the end: %s", error)
        self.store.close()

    def unready(self) -> list[str]:
        """Why the node does not serve as it should."""
        failure = self.disk_failure
        return [*self.member.unready(), *([f"its disk fails: {failure}"] if failure else [])]

    def needs_restart(self) -> list[str]:
        """A start may find another disk, or does without this one."""
        failure = self.disk_failure
        return [f"the disk of data node {self.own.name} fails: {failure}"] if failure else []

    def damaged(self, group: int, blob: bytes) -> None:
        """Fetch a blob anew: what is here fails its checksum, or cannot be read. Beyond a bound the next scrub finds it."""
        if (group, blob) not in self._in_repair and len(self._in_repair) < IN_REPAIR_MAX:
            self._in_repair.add((group, blob))
            self._damaged.put_nowait((group, blob))

    async def _keep_settled(self) -> None:
        loop = asyncio.get_running_loop()
        last_s, has_failed = loop.time(), False
        while True:
            await asyncio.sleep(SETTLE_LOOK_S)
            if self.store.index.damage is not None:
                raise self.store.index.damage
            replicas = [each for each in self.member.replicas.values() if each.is_started]
            waiting = sum(each.unsettled_records for each in replicas)
            waiting_bytes = sum(each.unsettled_bytes for each in replicas)
            moved = any(each.synced != each.settled for each in replicas)
            is_time = loop.time() - last_s >= SETTLE_EVERY_S and (moved or has_failed)
            many = waiting > SETTLE_RECORDS or waiting_bytes > SETTLE_BYTES
            if is_time or many or self.store.unsettled_bytes > SETTLE_STREAMED_BYTES:
                try:
                    await self.settle()
                    self._verdict.went_well(SETTLING)
                    has_failed = False
                except (OSError, LogError) as error:
                    has_failed = True  # nothing may move any more where the node is out for it
                    log_.error("the volumes could not be settled, this will be tried again: %s", error)
                    if isinstance(error, OSError):
                        self._verdict.failed(SETTLING, error)
                last_s = loop.time()

    async def _repair(self) -> None:
        while True:
            group, blob = await self._damaged.get()
            try:
                await self._replace(group, blob)
            except (OSError, LogError) as error:
                log_.warning("blob %s is damaged and its repair will be tried again: %s", blob.hex(), error)
                asyncio.get_running_loop().call_later(REPAIR_AGAIN_S, self._damaged.put_nowait, (group, blob))
                continue
            self._in_repair.discard((group, blob))

    async def _replace(self, group: int, blob: bytes) -> None:
        if not self.member.is_registered:
            raise OSError("who else has it is not known yet")
        replica = self.member.replicas.get(group)
        if replica is not None and self.store.may_be_lost(group, blob):
            await replica.take_again()
        place = self.store.find(group, blob)
        if place is None or not await self.store.damaged([Entry(group, blob, place)]):
            return
        position = -1 if replica is None else replica.position - 1
        wanted = Wanted(group, blob, place.partition, place.length, position=position)
        try:
            async with self.fetch.repairs.turn():
                await self.fetch.get(wanted, self.member.sources(group), replace=True)
        except BlobUnavailable as error:
            if not self.member.holds(group):  # else a copy that is not synced for it would never be whole
                log_.warning("blob %s of group %d is damaged, and was released, or is lost: %s", blob.hex(), group, error)
                self.store.release(group, [blob])
                return
            self.beyond_repair.add((group, blob))
            log_.critical("blob %s of group %d is damaged here and cannot be had elsewhere: %s", blob.hex(), group, error)
        else:
            self.repaired += 1
            self.beyond_repair.discard((group, blob))
            log_.warning("blob %s of group %d was damaged and is whole again", blob.hex(), group)

    async def _sweep(self) -> None:
        held = lambda: [number for number in self.member.replicas if self.member.holds(number)]  # noqa: E731
        times = self._times
        paces = times.orphan_after_s, times.sweep_pace_s, times.sweep_every_s
        await sweep(self.store, held, self._submit, self._clock_ms, *paces, self._announced)

    def _announced(self, group: int) -> list[Held]:
        replica = self.member.replicas.get(group)  # none, where it is followed no more since the round began
        return [] if replica is None else replica.announced()
