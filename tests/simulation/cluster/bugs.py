"""Bugs planted into the protocol of owners, each of which the simulation of a cluster must catch."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from processors.batch import Batch
from processors.dedup import CommandDedup
from processors.leases import Leases
from processors.machine import decide
from processors.machine.rejection import Rejected
from processors.runtime import Fenced, PartitionRuntime
from processors.view import Readable
from tests.simulation.cluster.broker import Connection
from tests.simulation.invariants import (
    EveryRequestIsAnswered,
    LogIsTrimmed,
    NoAcknowledgedWriteIsLost,
    NobodyNotices,
    NodesFailAsTheySay,
    Progress,
    ReadsAreLinearizable,
    RefusalsAreTrue,
    StreamIsComplete,
    ViewEqualsReplay,
)
from tests.simulation.plants import Patch, Plant
from tests.simulation.store import bugs
from topics import commands, following
from topics.log import LogError, Record
from topics.owners import LEASE_S
from topics.spec import TopicPartition


def lease_ignored(patch: Patch, world: object) -> None:
    patch.setattr(Leases, "is_held", lambda leases, partition: True)


def lease_counted_from_its_acknowledgement(patch: Patch, world: object) -> None:
    honest = Leases._say

    async def say(leases: Leases) -> None:
        before = dict(leases._until)
        await honest(leases)
        for partition, until in leases._until.items():
            if until != before.get(partition):
                leases._until[partition] = leases._clock_s() + LEASE_S

    patch.setattr(Leases, "_say", say)


def predecessor_not_waited_for(patch: Patch, world: object) -> None:
    async def take(leases: Leases, partition: int, epoch: int) -> bool:
        leases._epochs[partition] = epoch
        leases._taken.add(partition)
        await leases._say()
        return True

    patch.setattr(Leases, "take", take)


def reply_of_a_dead_owner_lost(patch: Patch, world: object) -> None:
    patch.setattr(PartitionRuntime, "tell_again", lambda runtime: None)


def told_again_while_the_predecessor_answers(patch: Patch, world: object) -> None:
    honest = PartitionRuntime.claim

    async def claim(runtime: PartitionRuntime) -> None:
        await honest(runtime)
        runtime.tell_again()

    patch.setattr(PartitionRuntime, "claim", claim)


def deadline_ignored(patch: Patch, world: object) -> None:
    honest = decide.decide

    def late(view: Readable, command: commands.Command, context: decide.Context) -> decide.Outcome:
        return honest(view, msgspec.structs.replace(command, deadline_ms=sys.maxsize), context)

    patch.setattr("processors.batch.decide", late)


def clock_ahead_held_against_deadlines(patch: Patch, world: object) -> None:
    honest = decide.decide

    def decide_late(view: Readable, command: commands.Command, context: decide.Context) -> decide.Outcome:
        return honest(view, command, context._replace(appended_ms=context.time_ms))

    patch.setattr("processors.batch.decide", decide_late)


def repeated_command_carried_out(patch: Patch, world: object) -> None:
    patch.setattr(CommandDedup, "is_repeated", lambda dedup, request, record: False)
    patch.setattr(decide, "_check_blobs", lambda view, extents: None)  # it sees some of them, too


def asked_before_the_claim_forgotten(patch: Patch, world: object) -> None:
    patch.setattr(CommandDedup, "recall", lambda dedup, record: None)
    patch.setattr(decide, "_check_blobs", lambda view, extents: None)


def displacement_not_noticed(patch: Patch, world: object) -> None:
    async def displaced(leases: Leases, partition: int) -> None:
        await asyncio.Event().wait()

    patch.setattr(Leases, "displaced", displaced)


def unknown_lease_left_out(patch: Patch, world: object) -> None:
    patch.setattr(Leases, "_note_unknown", lambda leases: None)


def decides_under_anothers_epoch(patch: Patch, world: object) -> None:
    honest = PartitionRuntime._commit

    async def commit(runtime: PartitionRuntime, batch: Batch) -> None:
        runtime.epoch = batch.meta.epoch
        await honest(runtime, batch)

    patch.setattr(PartitionRuntime, "_commit", commit)


def second_copy_taken_for_anothers(patch: Patch, world: object) -> None:
    honest = PartitionRuntime._commit

    async def commit(runtime: PartitionRuntime, batch: Batch) -> None:
        await honest(runtime, batch)
        if batch.entries and runtime.meta.offset != batch.meta.offset:
            raise Fenced("the log has more")

    patch.setattr(PartitionRuntime, "_commit", commit)


def creations_refused_once_in_a_while(patch: Patch, world: object) -> None:
    honest = decide._put_object

    def put(view: Readable, body: commands.PutObject, *context: Any) -> Any:
        if body.preconditions.if_none_match and int(body.etag) % 5 == 0:
            raise Rejected("PreconditionFailed")
        return honest(view, body, *context)

    patch.setattr(decide, "_put_object", put)


def commands_not_trimmed(patch: Patch, world: object) -> None:
    async def trim(runtime: PartitionRuntime) -> None:
        del runtime

    patch.setattr(PartitionRuntime, "trim", trim)


def thread_ends_in_silence(patch: Patch, world: object) -> None:
    honest = Connection.follow

    async def follow(connection: Connection, at: TopicPartition, offset: int) -> AsyncIterator[list[Record]]:
        try:
            async for batch in honest(connection, at, offset):
                yield batch
        except LogError:
            await asyncio.Event().wait()

    patch.setattr(Connection, "follow", follow)


def failed_follower_ends_its_part(patch: Patch, world: object) -> None:
    patch.setattr(following, "FAILURES_MAX", 1)


def places_of_lost_commands_given_to_others(patch: Patch, world: object) -> None:
    async def fill_up(runtime: PartitionRuntime) -> None:
        del runtime

    patch.setattr(PartitionRuntime, "_fill_up", fill_up)


PLANTS = [
    Plant(lease_ignored, ReadsAreLinearizable),
    Plant(lease_counted_from_its_acknowledgement, ReadsAreLinearizable, seen_at=3),
    Plant(predecessor_not_waited_for, ReadsAreLinearizable),
    Plant(reply_of_a_dead_owner_lost, EveryRequestIsAnswered, seen_at=49),
    Plant(told_again_while_the_predecessor_answers, ReadsAreLinearizable, seen_at=4),
    Plant(deadline_ignored, NoAcknowledgedWriteIsLost, seen_at=17),
    Plant(clock_ahead_held_against_deadlines, Progress, seen_at=90),
    Plant(repeated_command_carried_out, StreamIsComplete),
    Plant(asked_before_the_claim_forgotten, (StreamIsComplete, ViewEqualsReplay), seen_at=23),
    Plant(displacement_not_noticed, (NobodyNotices, EveryRequestIsAnswered), seen_at=208),
    Plant(unknown_lease_left_out, ReadsAreLinearizable, seen_at=4),
    Plant(bugs.claim_skipped, (StreamIsComplete, ViewEqualsReplay, ReadsAreLinearizable)),
    Plant(bugs.cause_ignored, (StreamIsComplete, ReadsAreLinearizable)),
    Plant(bugs.void_record_folded_as_ours, ViewEqualsReplay),
    Plant(decides_under_anothers_epoch, (NoAcknowledgedWriteIsLost, StreamIsComplete, ReadsAreLinearizable), seen_at=67),
    Plant(second_copy_taken_for_anothers, NobodyNotices, seen_at=40),
    Plant(bugs.other_release_not_settled, RefusalsAreTrue, seen_at=30),
    Plant(creations_refused_once_in_a_while, RefusalsAreTrue),
    Plant(bugs.refusals_not_told, LogIsTrimmed, seen_at=11),
    Plant(commands_not_trimmed, LogIsTrimmed),
    Plant(thread_ends_in_silence, (EveryRequestIsAnswered, Progress)),
    Plant(failed_follower_ends_its_part, NodesFailAsTheySay, seen_at=7),
    Plant(places_of_lost_commands_given_to_others, Progress),
]
