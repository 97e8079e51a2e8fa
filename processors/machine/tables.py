"""What the view holds: the tables, their keys' byte layout, and the row types.

    b 00 bucket                              Bucket
    o 00 incarnation key                     Object     (current objects; what listings scan)
    u 00 incarnation key 00 upload           Upload
    p 00 upload number(u16)                  Part
    g 00 position(u64) number(u32)           at most BLOBS_MAX blobs without a reference since that position
    f 00                                     Cut: where the rows of g begin; there were others before it
    d 00 position(u64)                       Dropped: parts that nobody can see any more, to be made garbage bit by bit
    r 00 blob(16)                            REFERENCED until it is given back, or ORPHANED: never to be named again
    c 00                                     Placement: the cluster's data nodes and groups (control partition)
    m 00                                     Meta

An incarnation is 32 hexadecimal digits, so that a bucket's deletion and re-creation never mix. Integers are big endian.
A change of these tables raises SCHEMA: a view of another schema is folded anew.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from processors.view import Overlay, Readable
from topics.objects import Attributes, Checksum, Extent
from topics.placement import Placement

SCHEMA = 2
BLOBS_MAX = 256  # in a row
UPLOAD_ROW = 0xFFFF  # above each part's number: the row of the upload itself


class Cut(NamedTuple):
    """A place between rows of garbage."""

    position: int = 0
    number: int = 0


class Dropped(msgspec.Struct, frozen=True, array_like=True):
    """The parts of an upload; or, where that is empty, the uploads of a bucket that was deleted."""

    incarnation: str
    upload: str = ""
    kept: list[int] = []  # parts whose blobs are an object's now


DroppedRow = tuple[str, str, int, list[Extent]]  # key, upload, number, extents to give back


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """How far the view has come; committed in one batch with the data."""

    log: str = ""  # the log's identity
    offset: int = 0  # next offset of `events` to fold
    epoch: int = 0
    sequence: int = 0
    cause: int = -1  # offset of the last decided command
    time_ms: int = 0  # the partition's clock
    hash: bytes = b""  # running hash of the records folded
    previous: bytes = b""  # the same without the last record, so that one record is enough to check it
    releases: tuple[str, ...] = ()  # that may have refused commands above `cause`; the last claim's is the last
    schema: int = 0


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    owner: str
    region: str
    incarnation: str
    created_ms: int


class Object(msgspec.Struct, frozen=True, array_like=True, gc=False):
    size: int
    etag: str
    modified_ms: int
    version_id: str
    attributes: Attributes
    extents: list[Extent]
    checksum: Checksum | None = None
    upload: str = ""  # the multipart upload that made it
    parts: list[tuple[int, int, str]] = []  # number, size and checksum of each part


class Upload(msgspec.Struct, frozen=True, array_like=True):
    initiated_ms: int
    initiator: str
    attributes: Attributes
    checksum_algorithm: str
    checksum_kind: str


class Part(msgspec.Struct, frozen=True, array_like=True):
    size: int
    etag: str
    modified_ms: int
    extents: list[Extent]
    checksum: Checksum | None = None


_encode = msgspec.msgpack.Encoder().encode
_meta = msgspec.msgpack.Decoder(Meta)
_bucket = msgspec.msgpack.Decoder(Bucket)
_object = msgspec.msgpack.Decoder(Object)
_upload = msgspec.msgpack.Decoder(Upload)
_part = msgspec.msgpack.Decoder(Part)
_placement = msgspec.msgpack.Decoder(Placement)
_blobs = msgspec.msgpack.Decoder(list[tuple[int, str]])
_cut = msgspec.msgpack.Decoder(Cut)
_dropped = msgspec.msgpack.Decoder(Dropped)

META_KEY, PLACEMENT_KEY, GARBAGE_FROM_KEY = b"m\0", b"c\0", b"f\0"
REFERENCED, ORPHANED = b"r", b"o"
Row = Meta | Bucket | Object | Upload | Part | Placement | Dropped | Cut | list[tuple[int, str]]


def bucket_key(bucket: str) -> bytes:
    return b"b\0" + bucket.encode()


def object_key(incarnation: str, key: str) -> bytes:
    return b"o\0" + incarnation.encode() + key.encode()


def upload_key(incarnation: str, key: str, upload: str) -> bytes:
    return b"u\0" + incarnation.encode() + key.encode() + b"\0" + upload.encode()


def part_key(upload: str, number: int) -> bytes:
    return b"p\0" + upload.encode() + number.to_bytes(2, "big")


def garbage_key(cut: Cut) -> bytes:
    return b"g\0" + cut.position.to_bytes(8, "big") + cut.number.to_bytes(4, "big")


def dropped_key(position: int) -> bytes:
    return b"d\0" + position.to_bytes(8, "big")


def blob_key(blob: str) -> bytes:
    return b"r\0" + bytes.fromhex(blob)


def put(view: Overlay, key: bytes, row: Row) -> None:
    view.put(key, _encode(row))


def meta(view: Readable) -> Meta:
    row = view.get(META_KEY)
    return Meta() if row is None else _meta.decode(row)


def bucket(view: Readable, name: str) -> Bucket | None:
    row = view.get(bucket_key(name))
    return None if row is None else _bucket.decode(row)


def buckets(view: Readable) -> Iterator[tuple[str, Bucket]]:
    for key, row in view.scan(b"b\0", b"b\1"):
        yield key[2:].decode(), _bucket.decode(row)


def current(view: Readable, incarnation: str, key: str) -> Object | None:
    row = view.get(object_key(incarnation, key))
    return None if row is None else _object.decode(row)


def objects(view: Readable, incarnation: str, start: bytes = b"", end: bytes = b"\xff") -> Iterator[tuple[bytes, Object]]:
    """Current objects with start <= key < end (keys as UTF-8, whose bytes stay below 0xff)."""
    prefix = b"o\0" + incarnation.encode()
    for key, row in view.scan(prefix + start, prefix + end):
        yield key[len(prefix) :], _object.decode(row)


def upload(view: Readable, incarnation: str, key: str, upload_id: str) -> Upload | None:
    row = view.get(upload_key(incarnation, key, upload_id))
    return None if row is None else _upload.decode(row)


def uploads(view: Readable, incarnation: str, start: bytes = b"") -> Iterator[tuple[str, str, Upload]]:
    """(key, upload id, row) of the uploads in progress, by key and then by upload id."""
    prefix = b"u\0" + incarnation.encode()
    for key, row in view.scan(prefix + start, prefix + b"\xff"):
        name, _, upload_id = key[len(prefix) :].rpartition(b"\0")
        yield name.decode(), upload_id.decode(), _upload.decode(row)


def part(view: Readable, upload_id: str, number: int) -> Part | None:
    row = view.get(part_key(upload_id, number))
    return None if row is None else _part.decode(row)


def parts(view: Readable, upload_id: str, after: int = 0) -> Iterator[tuple[int, Part]]:
    end = b"p\0" + upload_id.encode() + b"\xff\xff\xff"
    for key, row in view.scan(part_key(upload_id, after + 1), end):
        yield int.from_bytes(key[-2:], "big"), _part.decode(row)


def referring(view: Readable, after: bytes = b"") -> Iterator[tuple[bytes, list[Extent]]]:
    """The rows of objects and parts after the key `after`, with the blobs that each refers to."""
    for kind, row_type in ((b"o", _object), (b"p", _part)):
        start, end = max(kind + b"\0", after + b"\0"), kind + b"\1"
        if start < end:
            for key, row in view.scan(start, end):
                yield key, row_type.decode(row).extents


def referred_by(view: Readable, key: bytes) -> list[Extent]:
    """The blobs that the row of an object or a part refers to now."""
    row = view.get(key)
    if row is None:
        return []
    return _object.decode(row).extents if key.startswith(b"o") else _part.decode(row).extents


def garbage_from(view: Readable) -> Cut:
    row = view.get(GARBAGE_FROM_KEY)
    return Cut() if row is None else _cut.decode(row)


def garbage(view: Readable, start: Cut = Cut(), end: Cut | None = None) -> Iterator[tuple[Cut, list[tuple[int, str]]]]:  # noqa: B008 - immutable
    """(place, blobs as (group, id)) of what waits to be released, with start <= place < end."""
    begin = max(start, garbage_from(view))  # not a step over all that was there before
    for key, row in view.scan(garbage_key(begin), b"g\1" if end is None else garbage_key(end)):
        yield Cut(int.from_bytes(key[2:10], "big"), int.from_bytes(key[10:], "big")), _blobs.decode(row)


def dropped_at(view: Readable, position: int) -> Dropped | None:
    row = view.get(dropped_key(position))
    return None if row is None else _dropped.decode(row)


def dropped(view: Readable) -> Iterator[tuple[int, Dropped]]:
    """By the position of the event that dropped them."""
    for key, row in view.scan(b"d\0", b"d\1"):
        yield int.from_bytes(key[2:], "big"), _dropped.decode(row)


def dropped_rows(view: Readable, row: Dropped) -> Iterator[DroppedRow]:
    """What is left of it, in order; an upload's own row has the number UPLOAD_ROW."""
    if row.upload:
        kept = set(row.kept)
        for number, found in parts(view, row.upload):
            yield "", row.upload, number, [] if number in kept else found.extents
        return
    for key, upload_id, _ in uploads(view, row.incarnation):
        for number, found in parts(view, upload_id):
            yield key, upload_id, number, found.extents
        yield key, upload_id, UPLOAD_ROW, []


def placement(view: Readable) -> Placement:
    row = view.get(PLACEMENT_KEY)
    return Placement() if row is None else _placement.decode(row)


def reference(view: Readable, blob: str) -> bytes | None:
    """REFERENCED, ORPHANED, or None for a blob that is not known."""
    return view.get(blob_key(blob))
