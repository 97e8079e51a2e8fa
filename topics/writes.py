"""Payloads on their way to the volumes: the records of the topic `writes`, a partition for each replication group.

A blob's id is the record's key. The value's first byte tells what it is:

    03 partition u8 | bytes      a payload; partition: of the metadata, whose objects may refer to the blob
    04 msgpack                   a claim check: a large blob that was streamed to the nodes that it names
    02                           a release: nothing refers to the blob any more
    01 bytes                     a payload as earlier releases wrote it, of an unknown partition
"""

import msgspec

UNKNOWN_PARTITION = 255
RELEASE = b"\x02"
_PAYLOAD_V1, _RELEASE, _PAYLOAD, _CLAIM = 1, 2, 3, 4


class Payload(msgspec.Struct, frozen=True, gc=False):
    partition: int
    data: bytes


class Release(msgspec.Struct, frozen=True):
    """Of a blob that nothing refers to."""


class Claim(msgspec.Struct, frozen=True, array_like=True):
    partition: int
    length: int  # bytes
    crc32c: int
    holders: list[str]  # names of the nodes that have synced it


Write = Payload | Release | Claim
_RELEASED = Release()
_claims = msgspec.msgpack.Decoder(Claim)
_encode = msgspec.msgpack.Encoder().encode


def payload(partition: int, data: bytes) -> bytes:
    return bytes((_PAYLOAD, partition)) + data


def claim(found: Claim) -> bytes:
    return bytes((_CLAIM,)) + _encode(found)


def decode(value: bytes) -> Write:
    """Raises `ValueError` for what is none of these."""
    kind = value[0] if value else 0
    if kind == _PAYLOAD and len(value) > 1:
        return Payload(value[1], value[2:])
    if kind == _CLAIM:
        return _claims.decode(memoryview(value)[1:])
    if kind == _RELEASE:
        return _RELEASED
    if kind == _PAYLOAD_V1:
        return Payload(UNKNOWN_PARTITION, value[1:])
    raise ValueError(f"unknown kind of write {value[:1]!r}")
