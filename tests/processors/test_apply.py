"""`fold`: what is void changes nothing but the progress; what cannot be applied stops loudly."""

import pytest

from processors.machine import tables
from processors.machine.apply import digest, fold
from processors.memory import MemoryView
from processors.view import Overlay
from tests.processors.machine import LOG, OWNER, REQUEST, Machine
from topics import commands, events
from topics.objects import Attributes

CREATED = events.BucketCreated("bucket", OWNER, "region", "i" * 32)


def record(event: events.Event, epoch: int, sequence: int, cause: int = 5) -> bytes:
    return events.encode(events.Decision(epoch, sequence, cause, 1_000, OWNER, REQUEST, "", event))


def folded(*records: bytes) -> tuple[MemoryView, list[bool]]:
    view, counted = MemoryView(), []
    for offset, value in enumerate(records):
        overlay = Overlay(view)
        counted.append(fold(overlay, LOG, offset, value) is not None)
        view.commit(overlay.changes)
    return view, counted


CLAIM = record(events.Claimed("a"), 2, 0)


@pytest.mark.parametrize(
    "void",
    [record(CREATED, 1, 1), record(CREATED, 2, 2), record(CREATED, 2, 0), record(CREATED, 3, 1), CLAIM],
    ids=["an earlier epoch", "a gap", "a repetition", "an epoch without its claim", "a claim of no new epoch"],
)
def test_a_void_record_moves_the_progress_only(void: bytes) -> None:
    view, counted = folded(CLAIM, void)
    assert counted == [True, False]
    meta = tables.meta(view)
    assert (meta.offset, meta.epoch, meta.sequence, meta.cause) == (2, 2, 0, 5)
    assert meta.hash == digest(digest(b"", CLAIM), void)
    assert set(view.rows) == {tables.META_KEY}


def test_the_progress_names_the_log_and_the_last_cause() -> None:
    view, counted = folded(CLAIM, record(CREATED, 2, 1, cause=9), record(events.Claimed("b"), 3, 0, cause=-1))
    assert counted == [True, True, True]
    meta = tables.meta(view)
    assert (meta.log, meta.offset, meta.epoch, meta.sequence, meta.cause, meta.time_ms) == (LOG, 3, 3, 0, 9, 1_000)
    assert meta.previous != meta.hash


@pytest.mark.parametrize(
    "event",
    [
        events.BucketDeleted("bucket"),
        events.ObjectRemoved("bucket", "key", "null"),
        events.ObjectCreated("bucket", "key", 0, "", "null", events.ObjectPrivate([], Attributes())),
        events.UploadCreated("bucket", "key", "upload", events.UploadPrivate(Attributes(), "", "", OWNER)),
        events.UploadAborted("bucket", "key", "upload"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_a_fact_missing_from_the_view_stops_loudly(event: events.Event) -> None:
    with pytest.raises(ValueError, match="rebuild the view"):
        folded(CLAIM, record(event, 2, 1))


STARTED = events.UploadCreated("bucket", "key", "upload", events.UploadPrivate(Attributes(), "", "", OWNER))
PART = events.PartUploaded("bucket", "key", "upload", 1, 5, "", events.PartPrivate([]))


@pytest.mark.parametrize("had", [[], [STARTED], [PART]], ids=["neither", "no part", "no upload"])
def test_an_upload_that_is_not_whole_in_the_view_stops_loudly(had: list[events.Event]) -> None:
    completed = events.UploadCompleted("bucket", "key", 5, "", "null", "upload", events.CompletedPrivate([1]))
    facts = [CREATED, *had, completed]
    with pytest.raises(ValueError, match="not whole in the view: rebuild"):
        folded(CLAIM, *(record(event, 2, sequence) for sequence, event in enumerate(facts, 1)))


def test_an_unknown_event_stops_loudly() -> None:
    unknown = record(CREATED, 2, 1).replace(b"BucketCreated", b"BucketPainted")
    with pytest.raises(ValueError, match="BucketPainted"):
        folded(CLAIM, unknown)


def test_times_never_go_back() -> None:
    machine = Machine()
    machine.send(commands.CreateBucket("bucket", "i" * 32, ""), time_ms=700)
    assert tables.meta(machine.view).time_ms == 700
