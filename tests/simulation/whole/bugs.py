"""Bugs planted where gateways, owners and data nodes meet, each of which the simulation of a whole cluster must catch."""

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from gateway import copy
from gateway.context import Gateway
from gateway.errors import S3Error
from gateway.open_reads import OpenReads
from gateway.request import Request
from gateway.submit import Commander
from processors.machine import apply, tables
from processors.readers import LogReaders
from processors.reads import Object
from processors.view import Overlay
from tests.simulation.cluster.bugs import lease_ignored
from tests.simulation.data.bugs import orphans_stay
from tests.simulation.invariants import (
    NoAcknowledgedWriteIsLost,
    ReadsAreLinearizable,
    ReadsAreWhole,
    ReplicasConverge,
)
from tests.simulation.plants import Patch, Plant
from topics import commands, events, writes
from topics.log import Entry
from topics.objects import Preconditions
from topics.replies import Reply
from topics.spec import TopicPartition

COPIED_S = 5.0  # what a copy of some GiB takes: here objects are small


def garbage_waits_for_nobody(patch: Patch, world: object) -> None:
    patch.setattr(LogReaders, "is_past", lambda readers, mark: True)


def read_goes_on_without_a_lease(patch: Patch, world: object) -> None:
    def end_overdue(reads: OpenReads) -> None: ...

    patch.setattr(OpenReads, "_end_overdue", end_overdue)


def read_begins_behind_its_metadata(patch: Patch, world: object) -> None:
    honest = Gateway.object

    async def begin_read(gateway: Gateway, request: Request) -> None:
        if "x-amz-copy-source" in request.headers:
            request.read = await gateway.open_reads.begin()

    async def found(gateway: Gateway, request: Request) -> Object:
        row = await honest(gateway, request)
        request.read = await gateway.open_reads.begin()
        return row

    patch.setattr(Gateway, "begin_read", begin_read)
    patch.setattr(Gateway, "object", found)


def copy_does_not_hold_its_source(patch: Patch, world: object) -> None:
    honest, honest_check = copy.source, Gateway.check_read

    async def source(gateway: Gateway, request: Request) -> tuple[str, str, Object]:
        found = await honest(gateway, request)
        gateway.open_reads.end(request.read)
        await asyncio.sleep(COPIED_S)
        return found

    def check_read(gateway: Gateway, request: Request) -> Callable[[], None]:
        is_copy = "x-amz-copy-source" in request.headers
        return (lambda: None) if is_copy else honest_check(gateway, request)

    patch.setattr(copy, "source", source)
    patch.setattr(Gateway, "check_read", check_read)


def payload_given_back_though_it_may_be_named(patch: Patch, world: object) -> None:
    async def submit(gateway: Commander, request_id: str, principal: str, body: Any) -> Reply:
        try:
            return await gateway.submit(request_id, principal, body)
        except S3Error:
            for extent in body.extents:
                release = [Entry(bytes.fromhex(extent.blob), writes.RELEASE)]
                await gateway._log.append(TopicPartition("writes", extent.group), release, durable=False)
            raise

    patch.setattr(Commander, "submit_payload", submit)


def acknowledged_before_the_commit(patch: Patch, world: object) -> None:
    honest = Commander.submit

    async def submit(gateway: Commander, request_id: str, principal: str, body: commands.Body) -> Reply:
        if not isinstance(body, commands.PutObject):
            return await honest(gateway, request_id, principal, body)
        task = asyncio.create_task(honest(gateway, request_id, principal, body))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.sleep(0)
        return Reply(request_id, etag=body.etag)

    patch.setattr(Commander, "submit", submit)


def conditions_checked_early_alone(patch: Patch, world: object) -> None:
    honest = Commander.submit_payload

    async def submit(gateway: Commander, request_id: str, principal: str, body: Any) -> Reply:
        if isinstance(body, commands.PutObject):
            body = replace(body, preconditions=Preconditions())
        return await honest(gateway, request_id, principal, body)

    patch.setattr(Commander, "submit_payload", submit)


def replaced_part_forgotten(patch: Patch, world: object) -> None:
    honest = apply._put_part

    def put_part(view: Overlay, position: int, event: events.PartUploaded, time_ms: int) -> None:
        view.delete(tables.part_key(event.upload_id, event.part_number))
        honest(view, position, event, time_ms)

    patch.setattr(apply, "_put_part", put_part)


PLANTS = [
    Plant(garbage_waits_for_nobody, ReadsAreWhole),
    Plant(read_goes_on_without_a_lease, ReadsAreWhole, seen_at=4),
    Plant(read_begins_behind_its_metadata, ReadsAreWhole, seen_at=11),
    Plant(payload_given_back_though_it_may_be_named, (ReadsAreWhole, ReplicasConverge), seen_at=2),
    Plant(copy_does_not_hold_its_source, ReadsAreWhole, seen_at=1),
    Plant(acknowledged_before_the_commit, (ReadsAreLinearizable, NoAcknowledgedWriteIsLost), seen_at=10),
    Plant(conditions_checked_early_alone, ReadsAreLinearizable, seen_at=1),
    Plant(lease_ignored, ReadsAreLinearizable, seen_at=57),
    Plant(orphans_stay, ReplicasConverge, seen_at=1),
    Plant(replaced_part_forgotten, ReplicasConverge, seen_at=26),
]
