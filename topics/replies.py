"""The outcome of a command, sent to the gateway that waits for it once the decision behind it is durable.

On a cluster the records of the topic `replies`: the key names the gateway, its partition is part of the name.
"""

import msgspec

from topics.objects import Checksum

VERSION = 1


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    request_id: str
    error: str = ""  # S3 error code; empty for success
    message: str = ""
    etag: str = ""
    version_id: str = ""
    time_ms: int = 0  # when it was decided, by the log
    size: int = 0
    checksum: Checksum | None = None
    details: dict[str, str] = {}  # of an error: what failed, in the names of S3's error documents


class _Versioned(msgspec.Struct, frozen=True, array_like=True):
    version: int
    reply: Reply


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Versioned)


def encode(reply: Reply) -> bytes:
    return _encoder.encode(_Versioned(VERSION, reply))


def decode(data: bytes) -> Reply:
    """Raises `ValueError` for what is not a reply of this version."""
    found = _decoder.decode(data)
    if found.version != VERSION:
        raise ValueError(f"reply version {found.version} is not known to this release")
    return found.reply


def address(partition: int, gateway: str) -> str:
    """What a command names as the one to reply to."""
    return f"{partition}/{gateway}"


def partition_of(reply_to: str) -> int:
    """Raises `ValueError` for what is no address."""
    return int(reply_to.partition("/")[0])
