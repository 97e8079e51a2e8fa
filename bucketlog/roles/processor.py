"""The role of a processor: it owns partitions, decides their commands, answers what is asked of their views, and judges
data nodes.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bucketlog.audit import Auditor, Owned
from bucketlog.clock import boot_s, now_ms
from bucketlog.folder import DataFolder
from bucketlog.health import Health
from bucketlog.judging import faust_config, judging
from bucketlog.metrics.collectors import AuditMetrics, ClusterMetrics
from bucketlog.metrics.composed import of_processor
from bucketlog.roles.cluster import cluster_secret, endpoint_of, kafka_config, opened_log, tell, with_health
from bucketlog.server import Service
from bucketlog.settings import Settings
from bucketlog.work import Work, may_be_mended
from datanode.remote import RemoteNodes
from processors.housekeeping import keep_house
from processors.leases import Leases
from processors.machine import tables
from processors.ownership import Ownership
from processors.placement import publish_placement
from processors.readers import LogReaders
from processors.replies import LogReplies
from processors.service import create_read_service
from processors.view import Readable, View
from topics import spec
from topics.disk import OsDisk
from topics.kafka.group import OwnerGroup
from topics.owners import LEASE_S
from topics.placement import Placement
from topics.rocksdb import RocksMap


@asynccontextmanager
async def processor(settings: Settings) -> AsyncIterator[Service]:
    """Raises `ValueError` for settings that Faust cannot be given, `FolderRefused`."""
    secret, owner = cluster_secret(settings), uuid.uuid4().hex
    faust = faust_config(kafka_config(settings), endpoint_of(settings))
    folder = DataFolder(settings.data)
    async with opened_log(settings) as log, RemoteNodes(secret) as nodes:
        leases = Leases(log, owner, endpoint_of(settings), boot_s)
        ownership = Ownership(
            log, lambda number: RocksMap(folder.path / "view" / f"{number:04}"), owner, leases, LogReplies(log)
        )

        def control() -> View | None:
            runtime = ownership.runtimes.get(spec.CONTROL_PARTITION)
            return None if runtime is None else runtime.view

        judges = judging(settings, faust, log, secret, ownership)

        def judged() -> Placement | None:
            return tables.placement(ownership.views[spec.CONTROL_PARTITION]) if judges.is_judging else None

        def owned() -> dict[int, Readable]:
            return {number: runtime.view for number, runtime in ownership.runtimes.items()}

        auditor = Auditor(
            log,
            Owned(owned, leases.is_held),
            lambda: tables.placement(ownership.views[spec.CONTROL_PARTITION]),
            nodes,
            OsDisk(folder.path),
            now_ms,
            settings.audit_pace_s,
            settings.audit_every_s,
        )
        work = Work()
        work.start("audit", auditor.run())
        work.start("leases", leases.run())
        readers = LogReaders(log, owner, boot_s)
        work.start("what readers say", readers.run())
        house = keep_house(log, lambda: ownership.runtimes, readers, now_ms, settings.release_after_s)
        work.start("housekeeping", house)
        work.start("map of data nodes", publish_placement(log, control))
        group = OwnerGroup(kafka_config(settings), endpoint_of(settings), ownership)
        ownership.start()
        group.start()
        work.start("judging", judges.run())
        tell(settings, "processor")

        async def hand_over() -> None:
            await asyncio.gather(group.stop(), judges.stop())
            await ownership.hand_over()

        reads = create_read_service(ownership.views, leases.is_held, secret, decided=ownership.decided)
        cluster = [ClusterMetrics(judged, judges.behind, judges.clocks_off_s), AuditMetrics(auditor)]
        metrics = of_processor(settings, log, ownership, leases, cluster)
        yield Service(with_health(reads, metrics, _health(work, ownership, leases, group)), hand_over)
        await ownership.close()
        await work.end()
    folder.close()


def _health(work: Work, ownership: Ownership, leases: Leases, group: OwnerGroup) -> Health:
    def needs_restart() -> list[str]:
        stopped = [number for number, error in ownership.stopped.items() if may_be_mended(error)]
        failed = [group.failure] if group.failure else []
        return [*work.needs_restart(), *failed, *(f"partition {number} stopped" for number in stopped)]

    def unready() -> list[str]:
        silent = [] if leases.is_heard else [f"nothing that was said here reached the log for {LEASE_S:g} s"]
        return [*work.ended(), *ownership.unready(), *silent]

    return Health(needs_restart, unready)
