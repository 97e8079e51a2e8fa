"""How a blob lies in a volume.

    header   magic u32 | state u8 | partition u8 | group u16 | blob id 16 | length u64
             | crc32c u32 of id, length, partition and group
    payload  length bytes
    footer   crc32c u32 of each 64 KiB block of the payload | crc32c u32 of the id and those

little endian. The state is not under a crc: it alone changes in place, from LIVE to RELEASED; what is neither counts as
live, for a blob too many does less harm than one too few. The id is under the footer's crc, so that a stale index entry
never passes for the blob it names. Version 1 had neither group nor partition (3 bytes of padding, and a crc of id and
length): its records are of group 0 and an unknown partition.
"""

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from awscrt.checksums import combine_crc32c, crc32c

MAGIC_PREFIX = b"BKL"  # of either version
MAGIC_1 = 0x564C4B42  # "BKLV"
MAGIC = 0x324C4B42  # "BKL2"
LIVE, RELEASED = 1, 2
UNKNOWN_PARTITION = 255
BLOCK_BYTES = 64 << 10
STATE_AT = 4

_HEADER = struct.Struct("<IBBH16sQ")
_CRC = struct.Struct("<I")
_NAMED = struct.Struct("<16sQBH")  # what the header's crc is of
HEADER_BYTES = _HEADER.size + _CRC.size


class BlobCorrupt(Exception):
    """Bytes on disk do not match their checksum; they are not served."""


class BlobUnreadable(BlobCorrupt):
    """The disk does not give the bytes: damage like any other, but no write that broke off."""


class Header(NamedTuple):
    group: int
    blob: bytes
    partition: int
    length: int  # of the payload
    is_released: bool = False


def header(group: int, blob: bytes, partition: int, length: int) -> bytes:
    crc = crc32c(_NAMED.pack(blob, length, partition, group))
    return _HEADER.pack(MAGIC, LIVE, partition, group, blob, length) + _CRC.pack(crc)


def parse_header(data: bytes) -> Header | None:
    """None where no whole header is."""
    if len(data) < HEADER_BYTES:
        return None
    magic, state, partition, group, blob, length = _HEADER.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _HEADER.size)
    if magic == MAGIC and crc == crc32c(_NAMED.pack(blob, length, partition, group)):
        return Header(group, blob, partition, length, state == RELEASED)
    if magic == MAGIC_1 and crc == crc32c(blob + length.to_bytes(8, "little")):
        return Header(0, blob, UNKNOWN_PARTITION, length, state == RELEASED)
    return None


def footer_bytes(length: int) -> int:
    return _CRC.size * (blocks(length) + 1)


def record_bytes(length: int) -> int:
    return HEADER_BYTES + length + footer_bytes(length)


def blocks(length: int) -> int:
    return -(-length // BLOCK_BYTES)


def footer(blob: bytes, crcs: list[int]) -> bytes:
    packed = struct.pack(f"<{len(crcs)}I", *crcs)
    return packed + _CRC.pack(crc32c(packed, crc32c(blob)))


def parse_footer(blob: bytes, data: bytes) -> list[int]:
    """The blocks' crcs. Raises `BlobCorrupt`."""
    packed, crc = data[: -_CRC.size], data[-_CRC.size :]
    if len(crc) < _CRC.size or _CRC.unpack(crc)[0] != crc32c(packed, crc32c(blob)):
        raise BlobCorrupt(f"blob {blob.hex()}: checksums are damaged")
    return list(struct.unpack(f"<{len(packed) // _CRC.size}I", packed))


def block_crcs(payload: bytes | memoryview) -> list[int]:
    return [crc32c(payload[at : at + BLOCK_BYTES]) for at in range(0, len(payload), BLOCK_BYTES)]


@lru_cache(maxsize=64)  # whoever reads a large blob in pieces asks for each of them: 1 ms for 64 MiB
def payload_crc32c(blob: bytes, footer: bytes, length: int) -> int:
    """Of a payload of `length` bytes, from its footer. Raises `BlobCorrupt`."""
    return combined_crc32c(parse_footer(blob, footer), length)


def combined_crc32c(crcs: Sequence[int], length: int) -> int:
    """Of a payload of `length` bytes, from the crcs of its blocks."""
    crc = 0
    for number, each in enumerate(crcs):
        crc = combine_crc32c(crc, each, min(BLOCK_BYTES, length - number * BLOCK_BYTES))
    return crc


def record(group: int, blob: bytes, partition: int, payload: bytes) -> bytes:
    """A whole record, for payloads that are at hand."""
    return header(group, blob, partition, len(payload)) + payload + footer(blob, block_crcs(payload))
