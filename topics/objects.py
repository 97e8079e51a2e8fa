"""Shapes that commands and events share: where an object's bytes lie and what its owner said about it."""

import msgspec


class Extent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A run of an object's bytes: one immutable blob of at most 64 MiB."""

    blob: str  # UUIDv7, hexadecimal
    group: int  # replication group
    length: int  # bytes
    crc32c: int
    position: int  # offset of its record in the group's partition of `writes`


class Checksum(msgspec.Struct, frozen=True, array_like=True):
    """An additional checksum of S3: `x-amz-checksum-<algorithm>`."""

    algorithm: str  # as S3 names it: CRC32, SHA256, XXHASH3, …
    value: str  # base64; of a composite checksum with "-<parts>" behind
    kind: str = "FULL_OBJECT"  # or COMPOSITE


class Attributes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client stores with an object and gets back unchanged."""

    content_type: str = "binary/octet-stream"
    headers: dict[str, str] = {}  # Cache-Control and the other system headers, by lower-case name
    metadata: dict[str, str] = {}  # x-amz-meta-*, without the prefix
    storage_class: str = "STANDARD"
    in_utf8: tuple[str, ...] = ()  # names of headers whose bytes were UTF-8, not Latin-1


class Preconditions(msgspec.Struct, frozen=True, omit_defaults=True):
    """If-Match and If-None-Match of a write: "*", or an ETag without quotes. Empty where not given; one that was given and
    names no ETag is two quotes, which no ETag equals."""

    if_match: str = ""
    if_none_match: str = ""
