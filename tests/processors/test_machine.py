"""Buckets and objects: for each row the reply, the exact event, and the state after replay."""

import pytest

from tests.processors.machine import OWNER, Machine
from tests.processors.rows import (
    CREATE,
    EMPTY,
    IF_NONE,
    ONE,
    START,
    B,
    K,
    Row,
    check,
    complete,
    created,
    done,
    part,
    put,
    rejected,
)
from topics import commands, events
from topics.objects import Preconditions

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
    Row("a copy of a put", [CREATE, put("a")], put("a"), rejected("ServiceUnavailable"), None, ONE),
    Row("put if none, there is none", [CREATE], put("a", wanted=IF_NONE), WRITTEN, created("a"), ONE),
    Row(
        "put if none",
        [CREATE, put("a")],
        put("b", wanted=IF_NONE),
        rejected("PreconditionFailed", Condition="If-None-Match"),
        None,
        ONE,
    ),
    Row(
        "put if not this one",
        [CREATE, put("a")],
        put("b", wanted=Preconditions(if_none_match="e1")),
        rejected("PreconditionFailed", Condition="If-None-Match"),
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
        rejected("PreconditionFailed", Condition="If-Match"),
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
        rejected("NoSuchKey"),
        None,
        EMPTY,
    ),
    Row(
        "delete if match",
        [CREATE, put("a")],
        commands.DeleteObject(B, K, Preconditions("e2")),
        rejected("PreconditionFailed", Condition="If-Match"),
        None,
        ONE,
    ),
]


@pytest.mark.parametrize("row", [*BUCKETS, *OBJECTS], ids=lambda row: row.name)
def test_buckets_and_objects(row: Row) -> None:
    check(row)


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


def test_a_command_in_time_is_done_though_the_clock_of_the_log_was_ahead_before() -> None:
    machine = Machine()
    machine.send(CREATE, time_ms=900, deadline_ms=999)
    answer = machine.send(put("a"), time_ms=500, deadline_ms=600)
    assert (answer.reply.error, answer.reply.time_ms) == ("", 900)
