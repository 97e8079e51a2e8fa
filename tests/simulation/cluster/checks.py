"""What must hold of a whole run: the invariants, by the history of the clients, the stream, and the views."""

import sys
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from processors.machine import tables
from processors.machine.apply import fold
from processors.memory import MemoryView
from processors.view import Overlay
from tests.linearizability.checker import Operation, check
from tests.simulation.cluster.clients import History
from tests.simulation.cluster.processor import Processor
from tests.simulation.invariants import (
    NoAcknowledgedWriteIsLost,
    ReadsAreLinearizable,
    RefusalsAreTrue,
    StreamIsComplete,
    ViewEqualsReplay,
)
from topics import events, spec
from topics.memory import MemoryLog
from topics.reader import ReaderState
from topics.spec import TopicPartition


class Subscriber:
    """Follows the events of one partition by the reader's rule."""

    def __init__(self, log: MemoryLog, partition: int) -> None:
        self.seen: list[bytes] = []
        self._log = log
        self._at = TopicPartition("events", partition)

    async def follow(self) -> None:
        state = ReaderState()
        async for batch in self._log.follow(self._at, 0):
            for record in batch:
                if accepted := state.accept(events.decode(record.value)):
                    state = accepted
                    self.seen.append(record.value)


class Replay(NamedTuple):
    """A fresh fold of a partition's events."""

    view: MemoryView
    counted: list[bytes]


async def replay(log: MemoryLog, partition: int, below: int = sys.maxsize) -> Replay:
    """Of all records with offsets below one."""
    view, counted = MemoryView(), []
    overlay = Overlay(view)
    for record in await log.read(TopicPartition("events", partition), 0, records_max=sys.maxsize):
        if record.offset < below and fold(overlay, log.identity, record.offset, record.value):
            counted.append(record.value)
    view.commit(overlay.changes)
    return Replay(view, counted)


def check_history(history: History, in_time: set[str], last_reads: Iterable[Operation]) -> None:
    """`in_time`: the commands that reached the log before their deadline; no other can have had an effect."""
    writes = [each.operation for each in history.writes if each.request in in_time]
    for each in history.writes:
        if each.operation.ended is not None and each.request not in in_time:
            raise NoAcknowledgedWriteIsLost(f"{each.request} was done, and came after its deadline")
    if found := check([*writes, *history.reads]):
        raise ReadsAreLinearizable(f"{found}")
    if found := check([*writes, *history.reads, *last_reads]):
        raise NoAcknowledgedWriteIsLost(f"{found}")


def check_refusals(history: History, in_time: set[str]) -> None:
    """What was refused as too late was; and where something is said to have been there, it was: all of it together."""
    operations = [*(each.operation for each in history.writes if each.request in in_time), *history.reads]
    for refusal in history.refusals:
        if refusal.code == "RequestTimeout" and refusal.request in in_time:
            raise RefusalsAreTrue(f"{refusal} came in time")
        if refusal.code == "PreconditionFailed":
            operations.append(Operation(-3, refusal.key, "refused", None, refusal.started, refusal.ended))
    if found := check(operations):
        raise RefusalsAreTrue(found)


def check_stream(history: History, replays: Mapping[int, Replay], subscribers: Mapping[int, Subscriber]) -> None:
    asked = {each.request: each for each in history.writes}
    times: dict[str, int] = {}
    for partition, found in replays.items():
        if found.counted != subscribers[partition].seen:
            raise StreamIsComplete(f"a subscriber of {partition} saw something else")
        started = 0.0
        for request in (events.decode(each).request_id for each in found.counted):
            times[request] = times.get(request, 0) + 1
            if request in asked:
                operation = asked[request].operation
                if operation.ended is not None and operation.ended < started:
                    raise StreamIsComplete(f"{request} is behind what was asked for later")
                started = max(started, operation.started)
    if done := [each for each in history.refusals if each.request in times]:
        raise RefusalsAreTrue(f"{done[0]} was carried out")
    for request, each in asked.items():
        is_done = each.operation.ended is not None and each.operation.value is not None  # a deletion may find nothing
        if times.get(request, 0) not in ({1} if is_done else {0, 1}):
            raise StreamIsComplete(f"{request} is there {times.get(request, 0)} times")


async def check_views(log: MemoryLog, partitions: Iterable[int], processors: Iterable[Processor]) -> None:
    for each in processors:
        for partition in partitions:
            view = each.ownership.views[partition]
            assert isinstance(view, MemoryView)
            if view.rows != (await replay(log, partition, tables.meta(view).offset)).view.rows:
                raise ViewEqualsReplay(f"partition {partition} at {each.endpoint}")


async def is_behind(log: MemoryLog, partitions: Iterable[int], processors: Iterable[Processor]) -> str:
    """Which follower has not seen all, if any. An owner need not look behind what it wrote itself."""
    for each in processors:
        for partition in partitions:
            is_latest = tables.meta(each.ownership.views[partition]).offset == await log.latest(
                TopicPartition("events", partition)
            )
            if not is_latest and partition not in each.ownership.runtimes:
                return f"partition {partition} at {each.endpoint}"
    return ""


def partitions_of(buckets: Iterable[str]) -> list[int]:
    return sorted(spec.bucket_partition(name) for name in buckets)
