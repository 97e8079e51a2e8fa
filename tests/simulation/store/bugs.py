"""Bugs planted into the store, each of which the simulation must catch: proof that its invariants can fail."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datanode.compaction import Compactor
from datanode.layout import HEADER_BYTES
from datanode.replica import GroupReplica
from datanode.service import NodeService
from datanode.store import VolumeStore
from datanode.volume import PUNCH_BYTES_MIN, SECTOR_BYTES, Volume
from gateway.open_reads import OpenReads
from processors.batch import Batch
from processors.machine import apply, decide, tables
from processors.machine.decide import Context, Outcome
from processors.machine.rejection import Rejected
from processors.machine.tables import Cut, Dropped
from processors.memory import MemoryView
from processors.reads import ViewReads
from processors.runtime import PartitionRuntime
from processors.view import Overlay, Readable
from tests.simulation.disk import SimulatedDisk
from tests.simulation.invariants import (
    CorruptionIsNeverServed,
    FullNodesTakeNothing,
    LogIsTrimmed,
    LogKeepsWhatItTook,
    MembersHaveAll,
    NoAcknowledgedWriteIsLost,
    NobodyStandsStill,
    PositionsAreInTheLog,
    Progress,
    ReadsAreLinearizable,
    RefusalsAreTrue,
    StoreServes,
    StreamIsComplete,
    ViewEqualsReplay,
    ViewIsReadLittle,
)
from tests.simulation.plants import Patch, Plant, within
from tests.simulation.store.world import World
from topics import commands, copies, events, generation
from topics.commands import Command
from topics.copies import Copy
from topics.embedded import EmbeddedLog
from topics.events import Claimed, Decision
from topics.generation import Found, Standing
from topics.journal import Journal, Segment
from topics.log import Entry
from topics.log_disk import LogDisk
from topics.mirror import MirroredFile
from topics.objects import Extent
from topics.reader import ReaderState
from topics.replies import Reply
from topics.scrub import LogScrub
from topics.spec import TopicPartition


def sync_skipped(patch: Patch, world: World) -> None:
    del patch
    for disk in world.disks:
        disk.skips_sync = True


def epoch_ignored(patch: Patch, world: object) -> None:
    def accept(state: ReaderState, decision: Decision) -> ReaderState | None:
        if isinstance(decision.event, Claimed):
            return ReaderState(decision.epoch, 0) if decision.epoch > state.epoch else None
        return ReaderState(state.epoch, decision.sequence) if decision.sequence == state.sequence + 1 else None

    patch.setattr(ReaderState, "accept", accept)


def sequence_ignored(patch: Patch, world: World) -> None:
    def accept(state: ReaderState, decision: Decision) -> ReaderState | None:
        if isinstance(decision.event, Claimed):
            return ReaderState(decision.epoch, 0) if decision.epoch > state.epoch else None
        return ReaderState(state.epoch, decision.sequence) if decision.epoch == state.epoch else None

    patch.setattr(ReaderState, "accept", accept)


def reply_before_durable(patch: Patch, world: World) -> None:
    honest = EmbeddedLog.append

    async def append(log: EmbeddedLog, at: Any, entries: Sequence[Entry], *, durable: bool) -> list[int]:
        is_decision = at.topic == "events" and not isinstance(events.decode(entries[0].value).event, Claimed)
        return await honest(log, at, entries, durable=durable and not is_decision)

    patch.setattr(EmbeddedLog, "append", append)


def offset_and_data_apart(patch: Patch, world: World) -> None:
    honest = MemoryView.commit

    def commit(view: MemoryView, changes: Mapping[bytes, bytes | None]) -> None:
        honest(view, {key: row for key, row in changes.items() if key == tables.META_KEY})
        honest(view, {key: row for key, row in changes.items() if key != tables.META_KEY})

    patch.setattr(MemoryView, "commit", commit)


def cause_ignored(patch: Patch, world: object) -> None:
    honest = PartitionRuntime.claim

    async def claim(runtime: PartitionRuntime) -> None:
        await honest(runtime)
        runtime._decided_below = 0

    patch.setattr(PartitionRuntime, "claim", claim)


def claim_skipped(patch: Patch, world: object) -> None:
    async def claim(runtime: PartitionRuntime) -> None:
        await runtime._replica.catch_up()
        runtime._decided_below = runtime.meta.cause + 1
        runtime.is_claimed, runtime.epoch = True, runtime.meta.epoch

    patch.setattr(PartitionRuntime, "claim", claim)


def trimmed_before_synced(patch: Patch, world: World) -> None:
    async def settle(service: NodeService) -> None:
        for each in service.member.replicas.values():
            each.synced = each.settled

    patch.setattr(NodeService, "settle", settle)


def volume_not_synced(patch: Patch, world: World) -> None:
    async def sync(volume: Volume) -> None:
        del volume

    patch.setattr(Volume, "sync", sync)


def former_process_not_synced(patch: Patch, world: World) -> None:
    honest = Volume.__init__

    def init(volume: Volume, *arguments: Any) -> None:
        honest(volume, *arguments)
        volume._written = 0

    patch.setattr(Volume, "__init__", init)


def journal_folder_not_synced_at_start(patch: Patch, world: World) -> None:
    honest, honest_sync = Journal.recover, SimulatedDisk.sync_folder
    starts = 0

    async def recover(journal: Journal) -> Any:
        nonlocal starts
        starts += 1
        try:
            async for frame in honest(journal):
                yield frame
        finally:
            starts -= 1

    def sync_folder(disk: SimulatedDisk, folder: str) -> None:
        if not starts:
            honest_sync(disk, folder)

    patch.setattr(Journal, "recover", recover)
    patch.setattr(SimulatedDisk, "sync_folder", sync_folder)


def stale_disk_wins(patch: Patch, world: World) -> None:
    honest = generation.standing

    def standing(disks: Sequence[Found], ids: dict[str, str]) -> Standing:
        found = honest(disks, ids)
        labelled = [each.name for each in disks if each.label and each.label.generation.number]
        stale = [name for name in labelled if name not in found.current]
        return found._replace(current=stale[:1] or found.current)

    patch.setattr(copies, "standing", standing)


def durable_on_the_first_disk_alone(patch: Patch, world: World) -> None:
    async def write_synced(file: MirroredFile, data: bytes, at: int) -> None:
        first, *others = file._copies.in_use
        await file._files[first].write_synced(data, at)
        for copy in others:
            await copy.run(lambda copy: file._files[copy].write(data, at))

    patch.setattr(MirroredFile, "write_synced", write_synced)


def disks_called_on_the_loop(patch: Patch, world: World) -> None:
    async def run(copy: Copy, work: Callable[[Copy], Any]) -> Any:
        return work(copy)

    patch.setattr(Copy, "run", run)


def scrub_reads_one_copy(patch: Patch, world: World) -> None:
    is_scrubbing, honest = within(patch, LogScrub, "scrub"), MirroredFile._even_out

    async def even_out(file: MirroredFile, below: int | None = None) -> None:
        if not is_scrubbing():
            await honest(file, below)

    patch.setattr(MirroredFile, "_even_out", even_out)


def positions_ahead_of_the_log(patch: Patch, world: object) -> None:
    honest = EmbeddedLog.append

    async def append(log: EmbeddedLog, at: TopicPartition, entries: Sequence[Entry], *, durable: bool) -> list[int]:
        return await honest(log, at, entries, durable=durable) if entries else []

    async def known(replica: GroupReplica) -> int:
        return replica._store.position(replica.group) or 0

    patch.setattr(EmbeddedLog, "append", append)
    patch.setattr(GroupReplica, "_known", known)


def lost_sync_not_made_good(patch: Patch, world: World) -> None:
    patch.setattr(VolumeStore, "may_be_lost", lambda *_: False)


def hole_rounded_up(patch: Patch, world: World) -> None:
    honest = Volume.release

    def release(volume: Volume, region: int, blob: bytes, length: int) -> None:
        header = volume.header(region)
        honest(volume, region, blob, length)
        if length >= PUNCH_BYTES_MIN and header is not None and header.blob == blob:
            start = region + HEADER_BYTES
            volume._file.punch(start, -(-(start + length) // SECTOR_BYTES) * SECTOR_BYTES - start)

    patch.setattr(Volume, "release", release)


def index_trusted_blindly(patch: Patch, world: World) -> None:
    patch.setattr(VolumeStore, "_has_whole", lambda *_: True)


def copies_trusted_unsynced(patch: Patch, world: World) -> None:
    is_copying, honest = within(patch, Compactor, "_copy_small"), Volume.sync

    async def sync(volume: Volume) -> None:
        if not is_copying():
            await honest(volume)

    patch.setattr(Volume, "sync", sync)


def failed_write_drops_promised_records(patch: Patch, world: World) -> None:
    honest = EmbeddedLog._burn

    def burn(log: EmbeddedLog, batch: Sequence[Any]) -> None:
        honest(log, [each._replace(durable=True) for each in batch])

    patch.setattr(EmbeddedLog, "_burn", burn)


def void_record_folded_as_ours(patch: Patch, world: object) -> None:
    honest = PartitionRuntime._commit

    async def commit(runtime: PartitionRuntime, batch: Batch) -> None:
        if batch.entries:
            await runtime._log.append(runtime._events, batch.entries, durable=True)
            runtime._replica.commit(batch.overlay, batch.meta)
        else:
            await honest(runtime, batch)

    patch.setattr(PartitionRuntime, "_commit", commit)


def decides_without_overlay(patch: Patch, world: World) -> None:
    honest = decide.decide

    def on_what_is_committed(overlay: Overlay, command: Command, context: Context) -> Outcome:
        return honest(overlay._base, command, context)

    patch.setattr("processors.batch.decide", on_what_is_committed)


def listing_forgets_one(patch: Patch, world: World) -> None:
    honest = ViewReads.listing

    async def listing(reads: ViewReads, name: str, *arguments: Any) -> Any:
        found = await honest(reads, name, *arguments)
        return found._replace(contents=[row for row in found.contents if row[1].size % 11])

    patch.setattr(ViewReads, "listing", listing)


def log_times_never_go_back(patch: Patch, world: World) -> None:
    honest = EmbeddedLog.__init__
    latest_ms = 0

    def init(log: EmbeddedLog, disk: LogDisk, clock_ms: Callable[[], int], *more: Any) -> None:
        def rising_ms() -> int:
            nonlocal latest_ms
            latest_ms = max(latest_ms, clock_ms())
            return latest_ms

        honest(log, disk, rising_ms, *more)

    patch.setattr(EmbeddedLog, "__init__", init)


def garbage_waits_for_nobody(patch: Patch, world: World) -> None:
    patch.setattr(OpenReads, "is_past", lambda reads, mark: True)


def every_write_refused(patch: Patch, world: object) -> None:
    def put(*_: object) -> None:
        raise Rejected("ServiceUnavailable")

    patch.setattr(decide, "_put_object", put)


def creations_refused(patch: Patch, world: object) -> None:
    honest = decide._put_object

    def put(view: Readable, body: commands.PutObject, *context: Any) -> Any:
        if body.preconditions.if_none_match:
            raise Rejected("PreconditionFailed")
        return honest(view, body, *context)

    patch.setattr(decide, "_put_object", put)


def full_buckets_deleted_and_empty_ones_kept(patch: Patch, world: object) -> None:
    honest = decide._delete_bucket

    def delete(view: Readable, body: commands.DeleteBucket, *context: Any) -> Any:
        try:
            honest(view, body, *context)
        except Rejected:
            return events.BucketDeleted(body.bucket)
        raise Rejected("BucketNotEmpty")

    patch.setattr(decide, "_delete_bucket", delete)


def other_release_not_settled(patch: Patch, world: World) -> None:
    async def settle(runtime: PartitionRuntime) -> None:
        del runtime

    patch.setattr(PartitionRuntime, "_settle_other_releases", settle)


def refusals_not_told(patch: Patch, world: object) -> None:
    async def append(runtime: PartitionRuntime, below: int) -> None:
        del runtime, below

    patch.setattr(PartitionRuntime, "_append_decided", append)


def bucket_read_at_each_write(patch: Patch, world: World) -> None:
    honest = decide._put_object

    def put(view: Readable, body: commands.PutObject, *context: Any) -> Any:
        bucket = tables.bucket(view, body.bucket)
        assert bucket is None or list(tables.objects(view, bucket.incarnation)) is not None
        return honest(view, body, *context)

    patch.setattr(decide, "_put_object", put)


def garbage_looked_through_at_each_release(patch: Patch, world: object) -> None:
    honest = apply._forget_released

    def forget(view: Overlay, below: Cut) -> None:
        assert list(tables.garbage(view)) is not None
        honest(view, below)

    patch.setattr(apply, "_forget_released", forget)


def uploads_dropped_at_once(patch: Patch, world: object) -> None:
    def drop(view: Overlay, position: int, dropped: Dropped) -> list[Extent]:
        return apply._delete_rows(view, dropped, list(tables.dropped_rows(view, dropped)))

    patch.setattr(apply, "_drop", drop)


def dropped_parts_discarded_at_once(patch: Patch, world: object) -> None:
    def discard(view: Readable) -> events.Event | Reply:
        for position, row in tables.dropped(view):
            *_, (key, upload, number, _) = tables.dropped_rows(view, row)
            return events.PartsDiscarded(position, key, upload, number, is_last=True)
        return decide._DONE

    patch.setattr(decide, "_discard_parts", discard)


def segment_used_without_head(patch: Patch, world: object) -> None:
    async def remove(journal: Journal, numbers: list[int]) -> None:
        del journal, numbers

    patch.setattr(Journal, "_remove_unbegun", remove)


def segment_used_before_its_head_is_synced(patch: Patch, world: object) -> None:
    is_rolling, honest = within(patch, Journal, "roll"), Segment.write
    writing = set[asyncio.Task[None]]()

    async def write(segment: Segment, data: bytes) -> None:
        if not is_rolling():
            await honest(segment, data)
            return
        writing.add(asyncio.create_task(segment.file.write_synced(data, segment.end)))
        segment.end += len(data)

    patch.setattr(Segment, "write", write)


def full_disks_are_not_marked(patch: Patch, world: object) -> None:
    patch.setattr("bucketlog.store.marks", lambda placement, said: [])


PLANTS = [
    Plant(sync_skipped, StoreServes),
    Plant(epoch_ignored, StoreServes, seen_at=3),
    Plant(sequence_ignored, (NoAcknowledgedWriteIsLost, StreamIsComplete), seen_at=3),
    Plant(reply_before_durable, NoAcknowledgedWriteIsLost, seen_at=79),
    Plant(offset_and_data_apart, (NoAcknowledgedWriteIsLost, ViewEqualsReplay)),
    Plant(cause_ignored, (NoAcknowledgedWriteIsLost, ReadsAreLinearizable)),
    Plant(claim_skipped, (StreamIsComplete, StoreServes), seen_at=9),
    Plant(trimmed_before_synced, NoAcknowledgedWriteIsLost),
    Plant(volume_not_synced, NoAcknowledgedWriteIsLost),
    Plant(former_process_not_synced, NoAcknowledgedWriteIsLost, seen_at=52),
    Plant(journal_folder_not_synced_at_start, (MembersHaveAll, StoreServes), seen_at=5),
    Plant(stale_disk_wins, (PositionsAreInTheLog, NoAcknowledgedWriteIsLost, StreamIsComplete, StoreServes), seen_at=19),
    Plant(durable_on_the_first_disk_alone, StoreServes, seen_at=10),
    Plant(disks_called_on_the_loop, NobodyStandsStill, seen_at=53),
    Plant(scrub_reads_one_copy, CorruptionIsNeverServed, seen_at=5),
    Plant(positions_ahead_of_the_log, (PositionsAreInTheLog, NoAcknowledgedWriteIsLost), seen_at=27),
    Plant(lost_sync_not_made_good, NoAcknowledgedWriteIsLost, seen_at=3),
    Plant(hole_rounded_up, NoAcknowledgedWriteIsLost),
    Plant(index_trusted_blindly, NoAcknowledgedWriteIsLost),
    Plant(copies_trusted_unsynced, NoAcknowledgedWriteIsLost),
    Plant(failed_write_drops_promised_records, (LogKeepsWhatItTook, ViewEqualsReplay)),
    Plant(void_record_folded_as_ours, (ViewEqualsReplay, StoreServes)),
    Plant(decides_without_overlay, ReadsAreLinearizable),
    Plant(listing_forgets_one, ReadsAreLinearizable),
    Plant(garbage_waits_for_nobody, NoAcknowledgedWriteIsLost),
    Plant(log_times_never_go_back, (RefusalsAreTrue, StoreServes)),
    Plant(every_write_refused, Progress),
    Plant(creations_refused, RefusalsAreTrue),
    Plant(full_buckets_deleted_and_empty_ones_kept, RefusalsAreTrue),
    Plant(other_release_not_settled, RefusalsAreTrue, seen_at=44),
    Plant(refusals_not_told, LogIsTrimmed),
    Plant(bucket_read_at_each_write, ViewIsReadLittle),
    Plant(garbage_looked_through_at_each_release, ViewIsReadLittle, seen_at=9),
    Plant(uploads_dropped_at_once, ViewIsReadLittle),
    Plant(dropped_parts_discarded_at_once, ViewIsReadLittle, seen_at=19),
    Plant(segment_used_without_head, StoreServes, seen_at=119),
    Plant(segment_used_before_its_head_is_synced, StoreServes, seen_at=41),
    Plant(full_disks_are_not_marked, FullNodesTakeNothing, seen_at=33),
]
