"""How a record lies in a file of the embedded log.

    length u32 | crc32c u32 | topic u16 | partition u16 | offset u64 | time_ms u64 | key length u32 | key | value

little endian; `length` counts what follows the crc, and the crc covers the same bytes. A length of 0 marks the end: files
are filled with zeros ahead of the writer.
"""

import struct
from collections.abc import Iterator, Sequence

import msgspec
from awscrt.checksums import crc32c

from topics.log import Record

_PREFIX = struct.Struct("<II")
_HEAD = struct.Struct("<HHQQI")
MARK_TOPIC = 0xFFFE  # of a frame without a record that begins a batch: all before it was durable
_MARK_SIGN = struct.pack("<HH", MARK_TOPIC, 0)


class Frame(msgspec.Struct, frozen=True, gc=False):
    topic: int
    partition: int
    record: Record
    end: int  # position behind the frame


def pack(topic: int, partition: int, record: Record) -> bytes:
    body = _HEAD.pack(topic, partition, record.offset, record.time_ms, len(record.key)) + record.key + record.value
    return _PREFIX.pack(len(body), crc32c(body)) + body


def first_end(data: bytes) -> int:
    """Where the first frame says that it ends, whole or not; 0 where there is none."""
    length = int.from_bytes(data[:4], "little")
    return _PREFIX.size + length if length else 0


def unpack(data: bytes, start: int = 0) -> Iterator[Frame]:
    """Frames from `start` on, until the end mark or the first that is torn or corrupt (the last `end` tells where)."""
    position = start
    while position + _PREFIX.size <= len(data):
        length, crc = _PREFIX.unpack_from(data, position)
        end = position + _PREFIX.size + length
        body = data[position + _PREFIX.size : end]
        if length < _HEAD.size or end > len(data) or crc32c(body) != crc:
            return
        topic, partition, offset, time_ms, key_length = _HEAD.unpack_from(body)
        value_at = _HEAD.size + key_length
        yield Frame(topic, partition, Record(offset, time_ms, body[_HEAD.size : value_at], body[value_at:]), end)
        position = end


def mark(position: int, nonce: int) -> bytes:
    """The frame that begins a batch at `position`; nobody who sends records can know the nonce, and make one."""
    return pack(MARK_TOPIC, 0, Record(position, nonce, b"", b""))


def has_mark(data: bytes, start: int, nonce: int | None = None) -> bool:
    """Whether a batch begins at or after `start`; of a segment whose nonce is not known, any batch."""
    place = data.find(_MARK_SIGN, start + _PREFIX.size)
    while place >= 0:
        position = place - _PREFIX.size
        found = next(unpack(data, position), None)
        if found is not None and found.record.offset == position and nonce in (None, found.record.time_ms):
            return True
        place = data.find(_MARK_SIGN, place + 1)
    return False


def is_end(data: bytes, position: int) -> bool:
    """Whether the file ends cleanly at `position`: nothing, or the zeros of the end mark."""
    return not any(data[position : position + _PREFIX.size])


def merged(copies: Sequence[bytes]) -> bytes:
    """Of copies that were written alike and are whole in places: each frame that any has, as far as one follows another."""
    best, end = copies[0], 0
    while True:
        reached, copy = max(((_run_end(each, end), each) for each in copies), key=lambda found: found[0])
        if reached == end:
            return best
        best, end = best[:end] + copy[end:], reached


def _run_end(data: bytes, start: int) -> int:
    end = start
    for frame in unpack(data, start):
        end = frame.end
    return end
