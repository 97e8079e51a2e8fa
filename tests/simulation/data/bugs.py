"""Bugs planted into the data plane, each of which its simulation must catch."""

from collections.abc import Sequence
from typing import Any

import pytest

from bucketlog.audit import Auditor
from datanode import layout, orphans, recovery, routing, store
from datanode.copy import GroupCopy
from datanode.index import BlobIndex
from datanode.replica import GroupReplica
from datanode.volume import Volume
from processors import liveness
from processors.liveness import Liveness
from processors.machine import decide, membership
from processors.view import Readable
from tests.simulation.invariants import (
    BrakesHold,
    ClocksJudgeNobody,
    CorruptionIsNeverServed,
    FullNodesTakeNothing,
    ReplicasConverge,
)
from tests.simulation.plants import Patch, Plant
from topics import commands, events
from topics.heartbeats import Heartbeat
from topics.log import Record
from topics.placement import Group, Placement


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

    def consume(replica: GroupReplica, batch: Sequence[Record]) -> None:
        wanted = dict(replica._wanted)
        honest(replica, batch)
        replica._wanted = wanted | replica._wanted

    patch.setattr(GroupReplica, "consume", consume)


def read_without_verification(patch: Patch, world: object) -> None:
    def read(volume: Volume, blob: bytes, region: int, length: int, start: int, size: int, *_: object) -> bytes:
        return volume._file.read(size, region + layout.HEADER_BYTES + start).ljust(size, b"\0")

    patch.setattr(Volume, "read", read)


def claim_without_verification(patch: Patch, world: object) -> None:
    patch.setattr(store.VolumeStore, "is_of", lambda volumes, group, blob, length, crc: volumes.has(group, blob))


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
    patch.setattr(Volume, "_bytes", lambda volume, size, at: volume._file.read(size, at))


PLANTS = [
    Plant(quorum_of_one, ReplicasConverge, is_rare=True),
    Plant(told_before_it_is_settled, ReplicasConverge, is_rare=True),
    Plant(copy_not_waited_for, ReplicasConverge, is_rare=True),
    Plant(given_up_before_others_hold_it, ReplicasConverge, is_rare=True),
    Plant(release_leaves_what_is_wanted, ReplicasConverge, 1),
    Plant(read_without_verification, CorruptionIsNeverServed, 16),
    Plant(claim_without_verification, CorruptionIsNeverServed, 8),
    Plant(referred_blobs_are_orphans, ReplicasConverge),
    Plant(orphans_stay, ReplicasConverge),
    Plant(loss_forgotten, ReplicasConverge, is_rare=True),
    Plant(full_nodes_are_targets_like_others, FullNodesTakeNothing, 8),
    Plant(nobody_audits, ReplicasConverge, 2),
    Plant(no_brakes, BrakesHold, 3),
    Plant(wrong_clocks_are_not_heard, ClocksJudgeNobody, 17),
    Plant(one_bad_sector_ends_the_work, ReplicasConverge, 6),
]
