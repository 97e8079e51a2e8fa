"""Buckets, objects and uploads: for each row the reply, the exact event, and the state after replay."""

import hashlib
from typing import Any, NamedTuple

import pytest

from processors.machine.complete import PART_BYTES_MIN
from tests.processors.machine import NOW_MS, OWNER, REQUEST, Machine
from topics import commands, events
from topics.objects import Attributes, Checksum, Extent, Preconditions
from topics.replies import Reply

B, K, U = "bucket", "key", "upload"
BIG = PART_BYTES_MIN
PLAIN, ANY = Attributes(), Preconditions()


class Row(NamedTuple):
    name: str
    given: list[commands.Body]
    when: commands.Body
    reply: Reply
    event: events.Event | None
    state: dict[str, Any]


def done(**fields: Any) -> Reply:
    return Reply(REQUEST, time_ms=NOW_MS, **fields)


def rejected(code: str, message: str = "") -> Reply:
    return Reply(REQUEST, code, message, time_ms=NOW_MS)


def extents(*blobs: str) -> list[Extent]:
    return [Extent(blob, 0, 5, 0, 1) for blob in blobs]


def put(*blobs: str, etag: str = "e1", wanted: Preconditions = ANY, copied: bool = False) -> commands.PutObject:
    return commands.PutObject(B, K, 5, etag, extents(*blobs), None, PLAIN, wanted, copied)


def etag(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def part(number: int, blob: str, size: int = BIG, checksum: Checksum | None = None) -> commands.PutPart:
    return commands.PutPart(B, K, U, number, size, etag(blob), extents(blob), checksum)


def complete(*parts: tuple[int, str], **fields: Any) -> commands.CompleteUpload:
    names = [commands.PartName(number, etag(blob)) for number, blob in parts]
    return commands.CompleteUpload(B, K, U, names, **({"checksum": None} | fields))


def joined(*blobs: str) -> str:
    return hashlib.md5(b"".join(bytes.fromhex(etag(blob)) for blob in blobs)).hexdigest() + f"-{len(blobs)}"


CREATE = commands.CreateBucket(B, "i" * 32, "region")
START = commands.CreateUpload(B, K, U, "", "", PLAIN)
IF_NONE = Preconditions(if_none_match="*")
EMPTY: dict[str, Any] = {"buckets": [B]}
ONE = {"buckets": [B], "objects": {"bucket/key": ("e1", 5, ["a"])}}
OPEN = {"buckets": [B], "uploads": {"bucket/key#upload": {}}}
ONE_PART = {"buckets": [B], "uploads": {"bucket/key#upload": {1: etag("a")}}}


def created(*blobs: str, tag: str = "e1", kind: type[events.ObjectCreated] = events.ObjectCreated) -> events.ObjectCreated:
    return kind(bucket=B, key=K, size=5, etag=tag, version_id="null", private=events.ObjectPrivate(extents(*blobs), PLAIN))


BUCKETS = [
    Row("create", [], CREATE, done(), events.BucketCreated(B, OWNER, "region", "i" * 32), EMPTY),
    Row("create again", [CREATE], CREATE, rejected("BucketAlreadyOwnedByYou"), None, EMPTY),
    Row("delete", [CREATE], commands.DeleteBucket(B), done(), events.BucketDeleted(B), {}),
    Row("delete what is not there", [], commands.DeleteBucket(B), rejected("NoSuchBucket"), None, {}),
    Row("delete with objects", [CREATE, put("a")], commands.DeleteBucket(B), rejected("BucketNotEmpty"), None, ONE),
    Row(
        "delete with an upload under way",
        [CREATE, START, part(1, "a")],
        commands.DeleteBucket(B),
        done(),
        events.BucketDeleted(B),
        {"garbage": ["a"]},
    ),
    Row("forget", [CREATE], commands.ForgetReleased(0, 9), done(), events.BlobsReleased(9), EMPTY),
    Row(
        "forget what was released",
        [CREATE, put("a"), put("b"), put("c")],
        commands.ForgetReleased(0, 4),
        done(),
        events.BlobsReleased(4),
        {"buckets": [B], "objects": {"bucket/key": ("e1", 5, ["c"])}, "garbage": ["b"]},
    ),
]
WRITTEN = done(etag="e1", version_id="null")
OBJECTS = [
    Row("put", [CREATE], put("a"), WRITTEN, created("a"), ONE),
    Row("put without a bucket", [], put("a"), rejected("NoSuchBucket"), None, {}),
    Row("copy", [CREATE], put("a", copied=True), WRITTEN, created("a", kind=events.ObjectCopied), ONE),
    Row("overwrite", [CREATE, put("x", "y")], put("a"), WRITTEN, created("a"), ONE | {"garbage": ["x", "y"]}),
    Row("put if none, there is none", [CREATE], put("a", wanted=IF_NONE), WRITTEN, created("a"), ONE),
    Row("put if none", [CREATE, put("a")], put("b", wanted=IF_NONE), rejected("PreconditionFailed"), None, ONE),
    Row(
        "put if not this one",
        [CREATE, put("a")],
        put("b", wanted=Preconditions(if_none_match="e1")),
        rejected("PreconditionFailed"),
        None,
        ONE,
    ),
    Row(
        "put if match",
        [CREATE, put("z")],
        put("a", wanted=Preconditions("e1")),
        WRITTEN,
        created("a"),
        ONE | {"garbage": ["z"]},
    ),
    Row(
        "put if match, another is there",
        [CREATE, put("a")],
        put("b", wanted=Preconditions("e2")),
        rejected("PreconditionFailed"),
        None,
        ONE,
    ),
    Row("put if match, none is there", [CREATE], put("b", wanted=Preconditions("e1")), rejected("NoSuchKey"), None, EMPTY),
    Row("put if any, none is there", [CREATE], put("b", wanted=Preconditions("*")), rejected("NoSuchKey"), None, EMPTY),
    Row(
        "delete",
        [CREATE, put("a")],
        commands.DeleteObject(B, K),
        done(),
        events.ObjectRemoved(B, K, "null"),
        EMPTY | {"garbage": ["a"]},
    ),
    Row("delete what is not there", [CREATE], commands.DeleteObject(B, K), done(), None, EMPTY),
    Row("delete without a bucket", [], commands.DeleteObject(B, K), rejected("NoSuchBucket"), None, {}),
    Row(
        "delete if match, it does",
        [CREATE, put("a")],
        commands.DeleteObject(B, K, Preconditions("e1")),
        done(),
        events.ObjectRemoved(B, K, "null"),
        EMPTY | {"garbage": ["a"]},
    ),
    Row(
        "delete if match, none is there",
        [CREATE],
        commands.DeleteObject(B, K, Preconditions("e1")),
        done(),
        None,
        EMPTY,
    ),
    Row(
        "delete if match",
        [CREATE, put("a")],
        commands.DeleteObject(B, K, Preconditions("e2")),
        rejected("PreconditionFailed"),
        None,
        ONE,
    ),
]
PARTS: list[commands.Body] = [CREATE, START, part(1, "a"), part(2, "b", 1)]
TWO_PARTS = {"buckets": [B], "uploads": {"bucket/key#upload": {1: etag("a"), 2: etag("b")}}}
JOINED = done(etag=joined("a", "b"), version_id="null", size=BIG + 1)
COMPLETED = events.UploadCompleted(B, K, BIG + 1, joined("a", "b"), "null", U, events.CompletedPrivate([1, 2]))
WHOLE = {"buckets": [B], "objects": {"bucket/key": (joined("a", "b"), BIG + 1, ["a", "b"])}}


def fails(code: str, when: commands.Body, given: list[commands.Body] = PARTS, message: str = "") -> Row:
    state = TWO_PARTS if given is PARTS else EMPTY if given == [CREATE] else {}
    return Row(f"{code} for {when}", given, when, rejected(code, message), None, state)


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
    fails("InvalidPart", complete((1, "b"), (2, "b"))),
    fails("InvalidPart", complete((1, "a"), (3, "b"))),
    fails("InvalidPart", complete((1, "a"), (10_001, "b"))),
    fails("InvalidPart", complete((1, "a"), (999_999, "b"))),
    fails("InvalidPart", commands.CompleteUpload(B, K, U, [commands.PartName(1, etag("a"), "AAAAAA==")], None)),
    fails("InvalidPartOrder", complete((2, "b"), (1, "a"))),
    fails("InvalidPartOrder", complete((1, "a"), (1, "a"))),
    Row(
        "a part but the last is too small",
        [*PARTS, part(3, "c")],
        complete((1, "a"), (2, "b"), (3, "c")),
        rejected("EntityTooSmall"),
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
        rejected("PreconditionFailed"),
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


@pytest.mark.parametrize("row", [*BUCKETS, *OBJECTS, *UPLOADS], ids=lambda row: row.name)
def test_machine(row: Row) -> None:
    machine = Machine()
    for body in row.given:
        assert not machine.send(body).reply.error
    assert machine.send(row.when) == (row.reply, row.event)
    assert machine.state() == row.state


def test_a_bucket_of_someone_else() -> None:
    machine = Machine()
    machine.send(CREATE, principal="another")
    assert machine.send(CREATE).reply == rejected("BucketAlreadyExists")


@pytest.mark.parametrize("body", [CREATE, put("a"), START, complete((1, "a"))], ids=lambda body: type(body).__name__)
def test_a_command_after_its_deadline_does_nothing(body: commands.Body) -> None:
    machine = Machine()
    machine.send(CREATE)
    answer = machine.send(body, time_ms=501, deadline_ms=500)
    assert (answer.reply.error, answer.event) == ("RequestTimeout", None)
    assert machine.state() == EMPTY


def test_a_command_at_its_deadline_is_in_time() -> None:
    assert not Machine().send(CREATE, time_ms=500, deadline_ms=500).reply.error


def test_a_bucket_made_again_knows_nothing_of_the_one_before() -> None:
    machine = Machine()
    for body in (CREATE, put("a"), START, commands.DeleteObject(B, K), commands.DeleteBucket(B)):
        machine.send(body)
    machine.send(commands.CreateBucket(B, "j" * 32, "region"))
    assert machine.send(part(1, "a")).reply.error == "NoSuchUpload"
    assert machine.state() == {"buckets": [B], "garbage": ["a"]}
