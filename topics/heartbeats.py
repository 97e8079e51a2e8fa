"""What data nodes say each second, and the ticks of who judges them: the records of the topic `heartbeats`.

Each is signed with the cluster's secret: a node that does not share it is not heard. All that is judged are the log's
times of these records, never a node's own clock; that one is told so that a wrong clock can be named.
"""

import msgspec

from topics.secret import ClusterSecret

VERSION = 1
EVERY_S = 1.0
CLOCK_OFF_S_MAX = 30.0  # of a node's clock from the log's, before it is told


class Heartbeat(msgspec.Struct, frozen=True, omit_defaults=True, tag="Heartbeat"):
    node: str
    incarnation: str
    boot: str
    endpoint: str
    domain: str
    cluster: str  # identity of the log that its blobs belong to
    clock_ms: int
    capacity_bytes: int
    used_bytes: int
    is_full: bool
    positions: dict[int, int]  # group → offset of `writes` below which it has synced everything
    behind: dict[int, int] = {}  # group → blobs that it is to have and does not, yet
    disk_failure: str = ""  # why its disk cannot be relied on; empty while it can


class Tick(msgspec.Struct, frozen=True, tag="Tick"):
    """Who has read its own tick has heard all that was said before it."""

    judge: str  # and which of its ticks


class Heard(msgspec.Struct, frozen=True, tag="Heard"):
    """A node's latest heartbeat and the log's time of it: what who judges keeps, in the topic `heard`."""

    time_ms: int
    beat: Heartbeat


Said = Heartbeat | Tick | Heard


class _Signed(msgspec.Struct, frozen=True, array_like=True):
    version: int
    signature: bytes
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_signed = msgspec.msgpack.Decoder(_Signed)
_bodies: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)


class Unsigned(ValueError):
    """The record is not signed with this cluster's secret."""


def encode(said: Said, secret: ClusterSecret) -> bytes:
    body = _encode(said)
    return _encode(_Signed(VERSION, secret.digest(body), body))


def decode(data: bytes, secret: ClusterSecret) -> Said:
    """Raises `Unsigned`, or `ValueError` for what is not a record of this version."""
    found = _signed.decode(data)
    if found.version != VERSION:
        raise ValueError(f"heartbeat version {found.version} is not known to this release")
    if not secret.is_digest(found.body, found.signature):
        raise Unsigned("not signed with this cluster's secret")
    return _bodies.decode(found.body)
