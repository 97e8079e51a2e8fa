"""Rows of the machine's table: commands given, one command, and what must come of it."""

import hashlib
from typing import Any, NamedTuple

from processors.machine.complete import PART_BYTES_MIN
from tests.processors.machine import NOW_MS, REQUEST, Machine, blob_id
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


def rejected(code: str, message: str = "", **details: str) -> Reply:
    return Reply(REQUEST, code, message, time_ms=NOW_MS, details=details)


def extents(*blobs: str) -> list[Extent]:
    return [Extent(blob_id(blob), 0, 5, 0, 1) for blob in blobs]


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


def check(row: Row) -> None:
    machine = Machine()
    for body in row.given:
        assert not machine.send(body).reply.error
    assert machine.send(row.when) == (row.reply, row.event)
    assert machine.state() == row.state
