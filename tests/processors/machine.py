"""A state machine under test: commands in, replies and events out, and the state of a fresh view after a replay of them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from processors.machine import tables
from processors.machine.apply import fold
from processors.machine.decide import Context, decide
from processors.memory import MemoryView
from processors.view import Overlay
from topics import commands, events
from topics.replies import Reply

OWNER, REQUEST, NOW_MS = "owner", "R1", 1_000
LOG = "the log"


def blob_id(name: str) -> str:
    """A blob of a name that reads well in a test."""
    return name.encode().hex().zfill(32)


def blob_name(blob: str) -> str:
    return bytes.fromhex(blob).lstrip(b"\0").decode()


class Answer(NamedTuple):
    reply: Reply
    event: events.Event | None


class Machine:
    """Keeps every record it made, as `events` would; starts with the rows of a view, else with none."""

    def __init__(self, start: Mapping[bytes, bytes] = MappingProxyType({})) -> None:
        self._start = dict(start)
        self.view = MemoryView()
        self.view.commit(start)
        self.records: list[bytes] = []
        self._append(events.Claimed("the owner"), sequence=0)

    def send(
        self, body: commands.Body, *, principal: str = OWNER, time_ms: int = NOW_MS, deadline_ms: int = 9_999
    ) -> Answer:
        command = commands.Command(REQUEST, principal, "gateway", deadline_ms, body)
        before = dict(self.view.rows)
        event, reply = decide(
            self.view, command, Context(len(self.records), time_ms, max(time_ms, tables.meta(self.view).time_ms))
        )
        assert self.view.rows == before  # decide reads and never writes
        if event is not None:
            self._append(event, tables.meta(self.view).sequence + 1, time_ms)
        return Answer(reply, event)

    def state(self) -> dict[str, Any]:
        return summary(self.replayed())

    def replayed(self) -> MemoryView:
        """A fresh view after all records, which holds what this one holds."""
        fresh = replay(self.records, self._start)
        assert fresh.rows == self.view.rows
        return fresh

    def _append(self, event: events.Event, sequence: int, time_ms: int = 0) -> None:
        decision = events.Decision(1, sequence, len(self.records), time_ms, OWNER, REQUEST, "", event)
        self.records.append(events.encode(decision))
        _fold(self.view, len(self.records) - 1, self.records[-1])


def replay(records: list[bytes], start: Mapping[bytes, bytes] = MappingProxyType({})) -> MemoryView:
    view = MemoryView()
    view.commit(start)
    for offset, value in enumerate(records):
        _fold(view, offset, value)
    return view


def _fold(view: MemoryView, offset: int, value: bytes) -> None:
    overlay = Overlay(view)
    fold(overlay, LOG, offset, value)
    view.commit(overlay.changes)


def summary(view: MemoryView) -> dict[str, Any]:
    """The tables in a form to compare with: names, sizes and blobs, without what is empty."""
    found: dict[str, Any] = {"buckets": [], "objects": {}, "uploads": {}, "garbage": []}
    for name, bucket in tables.buckets(view):
        found["buckets"].append(name)
        for key, row in tables.objects(view, bucket.incarnation):
            found["objects"][f"{name}/{key.decode()}"] = (
                row.etag,
                row.size,
                [blob_name(each.blob) for each in row.extents],
            )
        for key_, upload, _ in tables.uploads(view, bucket.incarnation):
            parts = {number: part.etag for number, part in tables.parts(view, upload)}
            found["uploads"][f"{name}/{key_}#{upload}"] = parts
    found["garbage"] = [blob_name(blob) for _, blobs in tables.garbage(view) for _, blob in blobs]
    return {name: rows for name, rows in found.items() if rows}
