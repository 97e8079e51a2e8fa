"""The whole store in one process on the embedded log: what `bucketlog serve` runs, without its HTTP server.

Each disk is a data node of its own; with several, payloads are replicated over them, and the log is on up to three. So the
store starts without a disk that fails. The views are on the first: what one of an earlier start lacks comes from the log.
"""

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from bucketlog import identity
from bucketlog.audit import Auditor, Owned
from bucketlog.clock import boot_s, now_ms
from bucketlog.disk_marks import Said, marks
from bucketlog.health import Health
from bucketlog.settings import Settings
from bucketlog.status import Heard, PartitionStatus
from bucketlog.times import times
from bucketlog.work import Work
from datanode import client
from datanode.client import Blobs
from datanode.index import BlobIndex, Table
from datanode.local import MissingNode
from datanode.member import Identity
from datanode.node import DataNode
from datanode.placement import PlacementMap
from datanode.service import NodeService, Times
from datanode.store import VOLUME_BYTES, VolumeStore
from gateway.errors import S3Error
from gateway.open_reads import READ_MAX_S, OpenReads
from gateway.submit import Commander
from processors.housekeeping import RELEASE_AFTER_S, keep_house
from processors.liveness import trimmable
from processors.machine import tables
from processors.placement import publish_placement
from processors.reads import ViewReads
from processors.replica import Replica
from processors.runtime import PartitionRuntime
from processors.view import View
from topics import commands, spec
from topics.commands import Mark
from topics.copies import LABEL
from topics.disk import Disk, OsDisk
from topics.embedded import MANIFEST, EmbeddedLog, mended
from topics.journal import SEGMENT_BYTES
from topics.log import LogError
from topics.log_disk import OneDisk
from topics.mirror import MirroredDisk
from topics.placement import COPIES
from topics.rocksdb import RocksMap
from topics.scrub import LogScrub
from topics.sender import CommandSender
from topics.spec import CONTROL_PARTITION, TopicPartition

GATEWAY = "local"
TRIM_EVERY_S = 0.5
MARK_EVERY_S = 0.5
ASK_ATTEMPTS = 3
FINISH_S = 2.0  # for batches to end; the next start decides again what is left
T = TypeVar("T")
log_ = logging.getLogger(__name__)


class DiskNode(NamedTuple):
    """A disk and what was found on it."""

    own: Identity
    disk: Disk
    blobs: Table
    capacity_bytes: int
    folder: str = ""


async def open_store(folders: Sequence[Path], settings: Settings) -> "Store":
    """The store of data folders, on files and RocksDB. Raises `LogError`, `OSError`, `FolderRefused`."""
    identity.check_same_cluster(folders)
    disks = {folder: OsDisk(folder) for folder in folders}
    log = await open_log({str(folder): disk for folder, disk in disks.items()})
    nodes = list(_of_usable(folders, lambda folder: _disk_node(folder, disks[folder], log.identity)))
    views = next(_of_usable(folders, _views), None)
    if not nodes or views is None:
        raise OSError("no data folder can be used; mount or replace the disks")
    return Store(
        log,
        nodes,
        views,
        now_ms,
        release_after_s=settings.release_after_s,
        read_max_s=settings.read_max_s,
        times=times(settings),
        cache_bytes=settings.cache_bytes,
    )


async def open_log(
    disks: Mapping[str, Disk], segment_bytes: int = SEGMENT_BYTES, clock_ms: Callable[[], int] = now_ms
) -> EmbeddedLog:
    """On up to three disks, by their names; on one alone that never was one of several, without a mirror."""
    if len(disks) == 1 and await (disk := OneDisk(next(iter(disks.values())))).load(LABEL) is None:
        return await EmbeddedLog.open(disk, clock_ms, segment_bytes=segment_bytes)
    mirror = await MirroredDisk.open_all(disks, MANIFEST, mended)
    log = await EmbeddedLog.open(mirror, clock_ms, segment_bytes=segment_bytes)
    await mirror.admit()
    return log


def _of_usable(folders: Iterable[Path], open_: Callable[[Path], T]) -> Iterator[T]:
    """What is opened in each folder; one whose disk fails is left out, and it is told."""
    for folder in folders:
        try:
            found = open_(folder)
        except OSError as error:
            log_.critical("data folder %s cannot be used: %s; replace the disk, and start again", folder, error)
        else:
            yield found


def _views(folder: Path) -> list[RocksMap]:
    return [RocksMap(folder / "view" / f"{number:04}") for number in range(spec.EVENTS.partitions)]


def _disk_node(folder: Path, disk: OsDisk, cluster: str) -> DiskNode:
    own, blobs = identity.load(folder, "", cluster), RocksMap(folder / "index")
    return DiskNode(own, disk, blobs, disk.total_bytes(), str(folder.resolve()))


class Store:
    def __init__(
        self,
        log: EmbeddedLog,
        disks: Sequence[DiskNode],
        views: Sequence[View],
        clock_ms: Callable[[], int],
        *,
        volume_bytes: int = VOLUME_BYTES,
        release_after_s: float = RELEASE_AFTER_S,
        read_max_s: float = READ_MAX_S,
        times: Times = Times(),  # noqa: B008 - immutable
        rng: random.Random | None = None,
        new_blob: Callable[[], bytes] = client.new_blob,
        cache_bytes: int = 0,
    ) -> None:
        self._release_after_s = release_after_s
        self.open_reads = OpenReads(read_max_s, boot_s)
        self._clock_ms = clock_ms
        self._disks = disks
        self.log = log
        self.map = PlacementMap()
        self.commander = Commander(log, GATEWAY, clock_ms, durable=False)
        send = self._send = CommandSender(log, clock_ms)
        self.nodes: dict[str, NodeService] = {}
        for each in disks:
            volumes = VolumeStore(each.disk, BlobIndex(each.blobs), volume_bytes=volume_bytes)
            self.nodes[each.own.name] = NodeService(each.own, log, volumes, self.map, self._node, send, clock_ms, times)
        self.blobs = Blobs(log, self.map, self._node, durable=False, rng=rng, new_blob=new_blob, cache_bytes=cache_bytes)
        self._views = views
        self.reads = ViewReads(dict(enumerate(views)))
        owner = uuid.uuid4().hex
        self.replicas = {number: Replica(log, view, number) for number, view in enumerate(views)}
        self.runtimes = {
            number: PartitionRuntime(log, replica, owner, self.commander) for number, replica in self.replicas.items()
        }
        self.log_scrub = LogScrub(log)
        self._scrub_every_s = times.scrub_every_s
        self._work = Work()

    @property
    def health(self) -> Health:
        return Health(self._needs_restart, self._unready)

    def _needs_restart(self) -> list[str]:
        return [*self._work.needs_restart(), *(why for node in self.nodes.values() for why in node.needs_restart())]

    def _unready(self) -> list[str]:
        lost = [number for number, runtime in self.runtimes.items() if not runtime.is_claimed]
        of_disks = [f"disk {name}: {why}" for name, node in self.nodes.items() for why in node.unready()]
        return [*self._work.ended(), *(f"partition {number} is not claimed" for number in lost), *of_disks]

    def start_audit(self, pace_s: float, every_s: float) -> Auditor:
        """At the pace of one processor, however many partitions it goes through."""
        owned = Owned(lambda: dict(enumerate(self._views)), lambda number: self.runtimes[number].is_claimed)
        pace_s *= len(self._views)
        where = self._disks[0].disk
        made = Auditor(self.log, owned, lambda: self.map.current, self._node, where, self._clock_ms, pace_s, every_s)
        self._work.start("audit", made.run())
        return made

    def heard(self) -> dict[str, Heard]:
        """What the disks say of themselves."""
        found = [(self.nodes[each.own.name], each.folder) for each in self._disks]
        return {node.own.name: Heard(node.used_bytes, node.behind, 0.0, folder) for node, folder in found}

    async def partitions(self) -> list[PartitionStatus]:
        found = []
        for number, runtime in self.runtimes.items():
            lag = await self.log.latest(TopicPartition("commands", number)) - runtime.decided_below
            found.append(PartitionStatus(number, GATEWAY if runtime.is_claimed else "", max(0, lag)))
        return found

    async def start(self) -> None:
        """Serve from here on; returns when all that is needed for it is there. Raises what keeps it from that."""
        await self.log.create_topics(spec.ALL)
        for number, runtime in self.runtimes.items():
            await runtime.claim()
            self._work.start(f"partition {number}", runtime.run_alone())
        control = self._views[CONTROL_PARTITION]
        self._work.start("map of data nodes", publish_placement(self.log, lambda: control, self.map.update))
        for name, node in self.nodes.items():
            self._work.start(f"data node {name}", node.run())
        await self._register()
        self._work.start("scrub of the log", self.log_scrub.run(self._scrub_every_s))
        self._work.start("trim", self._keep_trimmed())
        self._work.start("marks of disks", self._keep_marked())
        house = keep_house(self.log, lambda: self.runtimes, self.open_reads, self._clock_ms, self._release_after_s)
        self._work.start("housekeeping", house)

    async def stop(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH_S):
                await asyncio.gather(*(runtime.finish() for runtime in self.runtimes.values()))
        await self._work.end()
        for node in self.nodes.values():
            await node.stop()
        await self.log.close()
        for view in self._views:
            view.close()
        for each in self._disks:
            each.disk.close()

    async def settle(self) -> None:
        """All that was written is in synced volumes, and the log lets go of it."""
        for node in self.nodes.values():
            await node.settle()
        positions = {name: node.positions for name, node in self.nodes.items()}
        for group, below in trimmable(self.map.current, positions).items():
            await self.log.trim(TopicPartition("writes", group), below)

    def _node(self, endpoint: str) -> DataNode:
        """In one process a disk is reached by its name."""
        found = self.nodes.get(endpoint)
        return MissingNode(f"disk {endpoint} is missing") if found is None else found.node

    async def _register(self) -> None:
        """The disks that are there are up, those that are missing are not; returns when the map shows it.

        Who is missing is said first: where there are to be fewer copies, or one that is here says that it lost some, the
        missing one would stay as the last holder else.
        """
        await self._ask(commands.SetOutShare(1.0))  # which disks are missing is as the operator started it
        for name, node in tables.placement(self._views[CONTROL_PARTITION]).nodes.items():
            if name not in self.nodes:
                log_.error(
                    "disk %s is missing: its blobs are read from others, and copied; name its folder by --data", name
                )
                await self._ask(commands.MarkNode(name, node.boot, Mark.DOWN))
                await self._ask(commands.MarkNode(name, node.boot, Mark.OUT))
        await self._ask(commands.SetCopies(min(COPIES, len(self._disks))))
        for each in self._disks:
            name, incarnation, boot = each.own
            await self._ask(commands.RegisterNode(name, incarnation, boot, name, name, each.capacity_bytes))
        while not all(node.member.is_registered for node in self.nodes.values()):
            await self.map.changed(self.map.current.epoch)

    async def _ask(self, body: commands.ClusterBody) -> None:
        """What may be done twice: asked again where the outcome is unknown, as at the first start of a release."""
        for attempt in range(ASK_ATTEMPTS):
            try:
                await self.commander.submit(uuid.uuid4().hex, "", body)
                return
            except S3Error as error:
                if error.code != "ServiceUnavailable" or attempt == ASK_ATTEMPTS - 1:
                    raise

    async def _keep_marked(self) -> None:
        while True:
            await asyncio.sleep(MARK_EVERY_S)
            said = {name: Said(node.store.is_read_only, node.disk_failure) for name, node in self.nodes.items()}
            for body in marks(self.map.current, said):
                try:
                    await self._send(body)
                except LogError as error:
                    log_.error("that a disk is full, or fails, cannot be noted and will be again: %s", error)

    async def _keep_trimmed(self) -> None:
        trimmed: dict[int, int] = {}
        while True:
            await asyncio.sleep(TRIM_EVERY_S)
            positions = {name: node.positions for name, node in self.nodes.items()}
            for group, below in trimmable(self.map.current, positions).items():
                if trimmed.get(group, 0) < below:
                    try:
                        await self.log.trim(TopicPartition("writes", group), below)
                        trimmed[group] = below
                    except LogError as error:
                        log_.error("the log cannot be trimmed and will be again: %s", error)
