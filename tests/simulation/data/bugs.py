"""Bugs planted into the data plane, each of which its simulation must catch."""

import errno
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from bucketlog.audit import Auditor
from datanode import layout, member, orphans, recovery, routing, store
from datanode.copy import GroupCopy
from datanode.extent import ExtentWriter
from datanode.index import BlobIndex
from datanode.member import Member
from datanode.replica import GroupReplica
from datanode.service import NodeService
from datanode.volume import Volume
from processors import liveness
from processors.liveness import Liveness
from processors.machine import decide, membership, rendezvous
from processors.view import Readable
from tests.simulation.invariants import (
    BrakesHold,
    ClaimsNameHolders,
    CorruptionIsNeverServed,
    EveryRequestIsAnswered,
    FailedDisksAreOut,
    FullNodesTakeNothing,
    HoldersHaveAll,
    NobodyStandsStill,
    RemovedNodesStayAway,
    ReplicasConverge,
    SettlingGoesOn,
    StartsTakeLittleMemory,
    VolumesRest,
    WellNodesAreUp,
    WritesStandOnAQuorum,
)
from tests.simulation.plants import Patch, Plant
from topics import commands, events
from topics.heartbeats import Heartbeat
from topics.log import Record
from topics.placement import Group, Node, Placement, State


def quorum_of_one(patch: Patch, world: object) -> None:
    patch.setattr(Placement, "quorum", 1)


def told_before_it_is_settled(patch: Patch, world: object) -> None:
    patch.setattr(GroupReplica, "settled", property(lambda replica: replica.position))


def copy_not_waited_for(patch: Patch, world: object) -> None:
    async def run(copy: GroupCopy) -> None:
        await copy._replica.started()

    patch.setattr(GroupCopy, "run", run)


def given_up_before_others_hold_it(patch: Patch, world: object) -> None:
    patch.setattr(membership, "_settled", lambda wanted, holders: list(wanted) or holders)


def release_leaves_what_is_wanted(patch: Patch, world: object) -> None:
    honest = GroupReplica.consume

    async def consume(replica: GroupReplica, batch: Sequence[Record]) -> None:
        wanted = dict(replica._wanted)
        await honest(replica, batch)
        replica._wanted = wanted | replica._wanted

    patch.setattr(GroupReplica, "consume", consume)


def read_without_verification(patch: Patch, world: object) -> None:
    def read(
        volume: Volume, blob: bytes, region: int, length: int, start: int, size: int, *_: object, **__: object
    ) -> bytes:
        return volume._file.read(size, region + layout.HEADER_BYTES + start).ljust(size, b"\0")

    patch.setattr(Volume, "read", read)


def claim_without_verification(patch: Patch, world: object) -> None:
    patch.setattr(store.VolumeStore, "is_of", lambda volumes, group, blob, *_, **__: volumes.has(group, blob))


def referred_blobs_are_orphans(patch: Patch, world: object) -> None:
    honest = decide._decide

    def decided(view: Readable, command: commands.Command) -> Any:
        if isinstance(command.body, commands.ReleaseOrphans):
            return events.OrphansFound(command.body.blobs)
        return honest(view, command)

    patch.setattr(decide, "_decide", decided)


def orphans_stay(patch: Patch, world: object) -> None:
    patch.setattr(orphans, "minted_ms", lambda blob: 1 << 48)


def loss_forgotten(patch: Patch, world: object) -> None:
    honest = recovery.recover

    def recover(*arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(BlobIndex, "forget_position", lambda *_: None)
            return honest(*arguments)

    patch.setattr(store, "recover", recover)


def full_nodes_are_targets_like_others(patch: Patch, world: object) -> None:
    def room(placement: Placement, group: Group, takers: int) -> routing.Room:
        return routing.Room(takers >= placement.quorum, 0, 0)

    patch.setattr(routing, "_room", room)


def no_brakes(patch: Patch, world: object) -> None:
    patch.setattr(membership, "held_back", lambda *_: "")
    patch.setattr(liveness, "held_back", lambda *_: "")


def wrong_clocks_are_not_heard(patch: Patch, world: object) -> None:
    honest = Liveness._refusal

    def refusal(judge: Liveness, time_ms: int, beat: Heartbeat, placement: Placement) -> str:
        return "its clock is wrong" if abs(beat.clock_ms - time_ms) > 60_000 else honest(judge, time_ms, beat, placement)

    patch.setattr(Liveness, "_refusal", refusal)


def nobody_audits(patch: Patch, world: object) -> None:
    async def go_on(*_: object) -> None: ...

    patch.setattr(Auditor, "_go_on", go_on)


def one_bad_sector_ends_the_work(patch: Patch, world: object) -> None:
    patch.setattr(Volume, "_bytes", lambda volume, size, at, **_: volume._file.read(size, at))


def what_is_not_in_memory_is_read_on_the_loop(patch: Patch, world: object) -> None:
    honest = Volume._bytes
    patch.setattr(Volume, "_bytes", lambda volume, size, at, **_: honest(volume, size, at))


def late_disks_are_written_to_on_the_loop(patch: Patch, world: object) -> None:
    async def answers(_: store.VolumeStore) -> None: ...

    patch.setattr(store.VolumeStore, "answers", answers)


def failed_disks_are_not_told(patch: Patch, world: object) -> None:
    patch.setattr(NodeService, "disk_failure", "")


def a_replica_that_failed_stays_ended(patch: Patch, world: object) -> None:
    async def run(member: Member, replica: GroupReplica) -> None:
        await replica.run()

    patch.setattr(Member, "_keep_running", run)


def one_volume_that_cannot_be_synced_stops_all(patch: Patch, world: object) -> None:
    honest = store.VolumeStore._unsyncable

    async def unsyncable(volumes: store.VolumeStore, volume: Volume) -> None:
        if (failed := await honest(volumes, volume)) is not None:
            raise OSError(errno.EIO, f"volume {failed.number} cannot be synced")

    patch.setattr(store.VolumeStore, "_unsyncable", unsyncable)


def full_nodes_are_to_have_groups(patch: Patch, world: object) -> None:
    def is_candidate(node: Node, holders: object = ()) -> bool:
        return node.state is not State.OUT and not node.is_draining

    patch.setattr(rendezvous, "is_candidate", is_candidate)


def full_disks_take_small_payloads(patch: Patch, world: object) -> None:
    honest = routing._room_for_small

    def room(placement: Placement, group: Group) -> routing.Room:
        return honest(placement, group)._replace(has_quorum=True)

    patch.setattr(routing, "_room_for_small", room)


def who_judges_anew_judges_at_once(patch: Patch, world: object) -> None:
    honest = Liveness.noted

    def noted(judge: Liveness, time_ms: int) -> None:
        honest(judge, time_ms)
        judge._since_ms = 0

    patch.setattr(Liveness, "noted", noted)


def old_words_bring_nodes_back(patch: Patch, world: object) -> None:
    honest = Liveness._registrations

    def registrations(judge: Liveness, placement: Placement) -> Iterator[commands.ClusterBody]:
        judge._stood = {name: liveness._state(placement.nodes.get(name)) for name in judge._heard}
        return honest(judge, placement)

    patch.setattr(Liveness, "_registrations", registrations)


def an_index_is_made_anew_in_one_step(patch: Patch, world: object) -> None:
    honest = recovery.recover

    def recover(*arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(recovery, "FOUND_AT_ONCE", 1 << 60)
            return honest(*arguments)

    patch.setattr(store, "recover", recover)


def allocated_blocks_are_garbage(patch: Patch, world: object) -> None:
    def garbage_bytes(volumes: store.VolumeStore, volume: Volume) -> int:
        live = volumes.index.live_bytes(volume.number) + volume.open_bytes
        return max(0, volume._file.allocated_bytes() - live)

    patch.setattr(store.VolumeStore, "garbage_bytes", garbage_bytes)


def a_copy_asks_one_holder(patch: Patch, world: object) -> None:
    honest = GroupCopy._page

    async def page(copy: GroupCopy, after: bytes, position: int) -> list[store.Held]:
        placement = copy._map.current
        for name in filter(placement.is_up, copy._holders()):
            return await copy._nodes(placement.endpoint(name)).blobs(copy._replica.group, after, position)
        return await honest(copy, after, position)

    patch.setattr(GroupCopy, "_page", page)


def only_the_first_target_leads(patch: Patch, world: object) -> None:
    honest = routing.Routes.group_for_large

    def group_for_large(routes: routing.Routes, tried: Mapping[int, str]) -> tuple[int, str]:
        group, _ = honest(routes, tried)
        placement = routes._map.current
        return group, routing._takers(placement, placement.groups[group])[0]

    patch.setattr(routing.Routes, "group_for_large", group_for_large)


def who_failed_to_lead_is_asked_again(patch: Patch, world: object) -> None:
    honest = ExtentWriter._leave

    async def leave(writer: ExtentWriter, failure: OSError) -> None:
        await honest(writer, failure)
        writer._tried = dict.fromkeys(writer._tried, "")

    patch.setattr(ExtentWriter, "_leave", leave)


def groups_are_dropped_at_once(patch: Patch, world: object) -> None:
    patch.setattr(member, "CLAIM_S", 0.0)


PLANTS = [
    Plant(quorum_of_one, WritesStandOnAQuorum),
    Plant(told_before_it_is_settled, HoldersHaveAll),
    Plant(copy_not_waited_for, HoldersHaveAll, seen_at=2),
    Plant(given_up_before_others_hold_it, HoldersHaveAll),
    Plant(release_leaves_what_is_wanted, ReplicasConverge, seen_at=8),
    Plant(read_without_verification, CorruptionIsNeverServed, seen_at=10),
    Plant(claim_without_verification, CorruptionIsNeverServed, seen_at=14),
    Plant(referred_blobs_are_orphans, HoldersHaveAll),
    Plant(orphans_stay, ReplicasConverge),
    Plant(loss_forgotten, HoldersHaveAll, seen_at=94),
    Plant(full_nodes_are_targets_like_others, FullNodesTakeNothing, seen_at=8),
    Plant(nobody_audits, ReplicasConverge, seen_at=60),
    Plant(no_brakes, BrakesHold, seen_at=1),
    Plant(wrong_clocks_are_not_heard, WellNodesAreUp, seen_at=4),
    Plant(one_bad_sector_ends_the_work, ReplicasConverge, seen_at=7),
    Plant(what_is_not_in_memory_is_read_on_the_loop, NobodyStandsStill, seen_at=2),
    Plant(late_disks_are_written_to_on_the_loop, NobodyStandsStill, seen_at=2),
    Plant(failed_disks_are_not_told, FailedDisksAreOut),
    Plant(a_replica_that_failed_stays_ended, ReplicasConverge, seen_at=10),
    Plant(one_volume_that_cannot_be_synced_stops_all, SettlingGoesOn, seen_at=6),
    Plant(full_nodes_are_to_have_groups, FullNodesTakeNothing),
    Plant(full_disks_take_small_payloads, FullNodesTakeNothing, seen_at=8),
    Plant(who_judges_anew_judges_at_once, WellNodesAreUp),
    Plant(old_words_bring_nodes_back, RemovedNodesStayAway, seen_at=3),
    Plant(an_index_is_made_anew_in_one_step, StartsTakeLittleMemory, seen_at=3),
    Plant(allocated_blocks_are_garbage, VolumesRest),
    Plant(a_copy_asks_one_holder, (HoldersHaveAll, ReplicasConverge), seen_at=75),
    Plant(only_the_first_target_leads, EveryRequestIsAnswered, seen_at=92),
    Plant(groups_are_dropped_at_once, ClaimsNameHolders, seen_at=53),
    Plant(who_failed_to_lead_is_asked_again, EveryRequestIsAnswered, seen_at=98),
]
