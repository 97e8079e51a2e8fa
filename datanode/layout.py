"""How a blob lies in a volume.

    header   magic u32 | state u8 | pad 3 | blob id 16 | length u64 | crc32c u32 of id and length
    payload  length bytes
    footer   crc32c u32 of each 64 KiB block of the payload | crc32c u32 of the id and those

little endian. The state is not under a crc: it alone changes in place, from LIVE to RELEASED. The id is under the footer's
crc, so that a stale index entry never passes for the blob it names.
"""

import struct

from awscrt.checksums import crc32c

MAGIC = 0x564C4B42  # "BKLV"
LIVE, RELEASED = 1, 2
BLOCK_BYTES = 64 << 10
STATE_AT = 4

_HEADER = struct.Struct("<IBBH16sQ")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size + _CRC.size


class BlobCorrupt(Exception):
    """Bytes on disk do not match their checksum; they are not served."""


def header(blob: bytes, length: int, group: int = 0, partition: int = 255) -> bytes:
    return _HEADER.pack(MAGIC, LIVE, partition, group, blob, length) + _CRC.pack(_header_crc(blob, length))


def parse_header(data: bytes) -> tuple[int, bytes, int, int, int] | None:
    """(state, blob id, length), or None where no whole header is."""
    if len(data) < HEADER_BYTES:
        return None
    magic, state, partition, group, blob, length = _HEADER.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _HEADER.size)
    if magic != MAGIC or crc != _header_crc(blob, length):
        return None
    return state, blob, length, group, partition


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


def record(blob: bytes, payload: bytes, group: int = 0, partition: int = 255) -> bytes:
    """A whole record, for payloads that are at hand."""
    return header(blob, len(payload), group, partition) + payload + footer(blob, block_crcs(payload))


def _header_crc(blob: bytes, length: int) -> int:
    crc: int = crc32c(blob + length.to_bytes(8, "little"))
    return crc
