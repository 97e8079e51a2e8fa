"""Multipart uploads: for each row the reply, the exact event, and the state after replay."""

import pytest

from tests.processors.machine import OWNER
from tests.processors.rows import (
    BIG,
    CREATE,
    EMPTY,
    IF_NONE,
    ONE,
    ONE_PART,
    OPEN,
    PLAIN,
    START,
    B,
    K,
    Row,
    U,
    check,
    complete,
    done,
    etag,
    extents,
    joined,
    part,
    put,
    rejected,
)
from topics import commands, events
from topics.objects import Preconditions

PARTS: list[commands.Body] = [CREATE, START, part(1, "a"), part(2, "b", 1)]
TWO_PARTS = {"buckets": [B], "uploads": {"bucket/key#upload": {1: etag("a"), 2: etag("b")}}}
JOINED = done(etag=joined("a", "b"), version_id="null", size=BIG + 1)
COMPLETED = events.UploadCompleted(B, K, BIG + 1, joined("a", "b"), "null", U, events.CompletedPrivate([1, 2]))
WHOLE = {"buckets": [B], "objects": {"bucket/key": (joined("a", "b"), BIG + 1, ["a", "b"])}}


def fails(code: str, when: commands.Body, given: list[commands.Body] = PARTS, message: str = "", **details: str) -> Row:
    state = TWO_PARTS if given is PARTS else EMPTY if given == [CREATE] else {}
    return Row(f"{code} for {when}", given, when, rejected(code, message, **details), None, state)


UPLOADS = [
    Row(
        "create",
        [CREATE],
        START,
        done(),
        events.UploadCreated(B, K, U, events.UploadPrivate(PLAIN, "", "", OWNER)),
        OPEN,
    ),
    Row(
        "part",
        [CREATE, START],
        part(1, "a"),
        done(etag=etag("a")),
        events.PartUploaded(B, K, U, 1, BIG, etag("a"), events.PartPrivate(extents("a"))),
        ONE_PART,
    ),
    Row(
        "part again",
        [CREATE, START, part(1, "x")],
        part(1, "a"),
        done(etag=etag("a")),
        events.PartUploaded(B, K, U, 1, BIG, etag("a"), events.PartPrivate(extents("a"))),
        ONE_PART | {"garbage": ["x"]},
    ),
    Row(
        "abort",
        PARTS,
        commands.AbortUpload(B, K, U),
        done(),
        events.UploadAborted(B, K, U),
        EMPTY | {"garbage": ["a", "b"]},
    ),
    Row("complete", PARTS, complete((1, "a"), (2, "b")), JOINED, COMPLETED, WHOLE),
    Row(
        "complete over an object",
        [CREATE, put("old"), *PARTS[1:]],
        complete((1, "a"), (2, "b")),
        JOINED,
        COMPLETED,
        WHOLE | {"garbage": ["old"]},
    ),
    Row(
        "complete with fewer parts",
        [*PARTS, part(3, "c")],
        complete((1, "a"), (2, "b")),
        JOINED,
        COMPLETED,
        WHOLE | {"garbage": ["c"]},
    ),
    Row(
        "complete again",
        [*PARTS, complete((1, "a"), (2, "b"))],
        complete((1, "a"), (2, "b")),
        done(etag=joined("a", "b"), version_id="null"),
        None,
        WHOLE,
    ),
    Row(
        "complete with one small part",
        [CREATE, START, part(7, "a", 0)],
        complete((7, "a")),
        done(etag=joined("a"), version_id="null"),
        events.UploadCompleted(B, K, 0, joined("a"), "null", U, events.CompletedPrivate([7])),
        {"buckets": [B], "objects": {"bucket/key": (joined("a"), 0, ["a"])}},
    ),
    fails("NoSuchBucket", START, []),
    fails("NoSuchBucket", part(1, "a"), []),
    fails("NoSuchBucket", complete((1, "a")), []),
    fails("NoSuchBucket", commands.AbortUpload(B, K, U), []),
    fails("NoSuchUpload", part(1, "a"), [CREATE]),
    fails("NoSuchUpload", complete((1, "a")), [CREATE]),
    fails("NoSuchUpload", commands.AbortUpload(B, K, U), [CREATE]),
    fails("NoSuchUpload", commands.AbortUpload(B, "another key", U)),
    fails("InvalidPart", complete((1, "b"), (2, "b")), PartNumber="1", ETag=etag("b")),
    fails("InvalidPart", complete((1, "a"), (3, "b")), PartNumber="3", ETag=etag("b")),
    fails("InvalidPart", complete((1, "a"), (10_001, "b")), PartNumber="10001", ETag=etag("b")),
    fails("InvalidPart", complete((1, "a"), (999_999, "b")), PartNumber="999999", ETag=etag("b")),
    fails(
        "InvalidPart",
        commands.CompleteUpload(B, K, U, [commands.PartName(1, etag("a"), "AAAAAA==")], None),
        PartNumber="1",
        ETag=etag("a"),
    ),
    fails("InvalidPartOrder", complete((2, "b"), (1, "a"))),
    fails("InvalidPartOrder", complete((1, "a"), (1, "a"))),
    Row(
        "a part but the last is too small",
        [*PARTS, part(3, "c")],
        complete((1, "a"), (2, "b"), (3, "c")),
        rejected("EntityTooSmall", ProposedSize="1", MinSizeAllowed=str(BIG), PartNumber="2", ETag=etag("b")),
        None,
        {"buckets": [B], "uploads": {"bucket/key#upload": {1: etag("a"), 2: etag("b"), 3: etag("c")}}},
    ),
    fails(
        "InvalidRequest",
        complete((1, "a"), (2, "b"), size=7),
        message="The provided 'x-amz-mp-object-size' header does not match what was uploaded.",
    ),
    fails("NoSuchKey", complete((1, "a"), (2, "b"), preconditions=Preconditions("e1"))),
    Row(
        "complete if none",
        [CREATE, put("a"), START, part(1, "b")],
        complete((1, "b"), preconditions=IF_NONE),
        rejected("PreconditionFailed", Condition="If-None-Match"),
        None,
        ONE | {"uploads": {"bucket/key#upload": {1: etag("b")}}},
    ),
    Row(
        "complete what another write replaced",
        [*PARTS, complete((1, "a"), (2, "b")), put("c")],
        complete((1, "a"), (2, "b")),
        rejected("NoSuchUpload"),
        None,
        {"buckets": [B], "objects": {"bucket/key": ("e1", 5, ["c"])}, "garbage": ["a", "b"]},
    ),
]


@pytest.mark.parametrize("row", UPLOADS, ids=lambda row: row.name)
def test_uploads(row: Row) -> None:
    check(row)
