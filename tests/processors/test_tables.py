"""The view's tables: the bytes of their keys, and what each row keeps of the commands behind it."""

import hashlib

import pytest

from processors.machine import tables
from processors.machine.complete import PART_BYTES_MIN
from tests.processors.machine import OWNER, Machine, blob_id
from topics import commands
from topics.objects import Attributes, Checksum, Extent

B, K, U, INCARNATION = "bucket", "k/ü", "ab" * 16, "i" * 32
SAID = Attributes("text/plain", {"cache-control": "no-store"}, {"größe": "5"}, "STANDARD_IA")
SUM = Checksum("CRC32", "AAAAAA==")
ETAG = hashlib.md5(b"").hexdigest()
CREATE = commands.CreateBucket(B, INCARNATION, "region")
START = commands.CreateUpload(B, K, U, "CRC32", "FULL_OBJECT", SAID)


def extents(blob: str) -> list[Extent]:
    return [Extent(blob_id(blob), 3, 5, 7, 9)]


def part(number: int) -> commands.PutPart:
    return commands.PutPart(B, K, U, number, PART_BYTES_MIN, ETAG, extents(str(number)), SUM)


def after(*bodies: commands.Body) -> Machine:
    """Each command decided 100 ms behind the one before."""
    machine = Machine()
    for number, body in enumerate(bodies, 1):
        assert not machine.send(body, time_ms=100 * number).reply.error
    return machine


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (tables.META_KEY, b"m\0"),
        (tables.bucket_key(B), b"b\0bucket"),
        (tables.object_key(INCARNATION, K), b"o\0" + b"i" * 32 + b"k/\xc3\xbc"),
        (tables.upload_key(INCARNATION, K, "up"), b"u\0" + b"i" * 32 + b"k/\xc3\xbc\0up"),
        (tables.part_key("up", 10_000), b"p\0up\x27\x10"),
        (tables.garbage_key(tables.Cut(258, 3)), b"g\0\0\0\0\0\0\0\x01\x02\0\0\0\x03"),
        (tables.dropped_key(258), b"d\0\0\0\0\0\0\0\x01\x02"),
    ],
)
def test_keys(key: bytes, expected: bytes) -> None:
    assert key == expected


def test_a_bucket_and_an_object_keep_all_that_was_said_of_them() -> None:
    view = after(CREATE, commands.PutObject(B, K, 5, "e1", extents("a"), SUM, SAID)).view
    assert tables.bucket(view, B) == tables.Bucket(OWNER, "region", INCARNATION, 100)
    expected = tables.Object(5, "e1", 200, "null", SAID, extents("a"), SUM)
    assert tables.current(view, INCARNATION, K) == expected


def test_an_upload_and_its_parts_keep_all_that_was_said_of_them() -> None:
    view = after(CREATE, START, part(1), part(10_000)).view
    assert tables.upload(view, INCARNATION, K, U) == tables.Upload(200, OWNER, SAID, "CRC32", "FULL_OBJECT")
    rows = [
        (number, tables.Part(PART_BYTES_MIN, ETAG, ms, extents(str(number)), SUM))
        for number, ms in ((1, 300), (10_000, 400))
    ]
    assert list(tables.parts(view, U)) == rows
    assert list(tables.parts(view, U, after=1)) == rows[1:]
    assert list(tables.parts(view, U, after=10_000)) == []
    assert list(tables.parts(view, "ac" * 16)) == []


def test_a_completed_object_is_made_of_its_upload_and_parts() -> None:
    names = [commands.PartName(1, ETAG), commands.PartName(3, ETAG)]
    machine = after(CREATE, START, part(1), part(2), part(3), commands.CompleteUpload(B, K, U, names, None))
    row = tables.current(machine.view, INCARNATION, K)
    assert row is not None
    assert (row.size, row.modified_ms, row.version_id, row.attributes, row.upload) == (
        2 * PART_BYTES_MIN,
        600,
        "null",
        SAID,
        U,
    )
    assert row.extents == extents("1") + extents("3")
    assert row.checksum == Checksum("CRC32", "AAAAAA==")
    assert row.parts == [(1, PART_BYTES_MIN, SUM.value), (3, PART_BYTES_MIN, SUM.value)]
    assert list(tables.garbage(machine.view)) == [(tables.Cut(6), [(3, blob_id("2"))])]


@pytest.mark.parametrize(
    "last",
    [
        commands.CompleteUpload(B, K, U, [commands.PartName(1, ETAG)], None),
        commands.AbortUpload(B, K, U),
        commands.DeleteBucket(B),
    ],
    ids=lambda body: type(body).__name__,
)
def test_nothing_stays_of_an_upload_that_has_ended(last: commands.Body) -> None:
    left = {key[:1] for key in after(CREATE, START, part(1), part(2), last).view.rows}
    assert left & {b"u", b"p"} == set()
