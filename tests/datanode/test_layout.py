"""The bytes of a record, for ever: of this version and of the one before."""

import pytest

from datanode import layout
from tests.datanode.golden import BLOB, PAYLOAD, V1, V2


def test_a_record_has_its_golden_bytes() -> None:
    assert layout.record(513, BLOB, 7, PAYLOAD).hex() == V2
    assert layout.record_bytes(len(PAYLOAD)) == len(V2) // 2


@pytest.mark.parametrize(
    ("golden", "expected"),
    [
        (V1, layout.Header(0, BLOB, layout.UNKNOWN_PARTITION, len(PAYLOAD))),
        (V2, layout.Header(513, BLOB, 7, len(PAYLOAD))),
    ],
)
def test_each_version_is_read(golden: str, expected: layout.Header) -> None:
    data = bytes.fromhex(golden)
    assert layout.parse_header(data) == expected
    released = data[: layout.STATE_AT] + bytes([layout.RELEASED]) + data[layout.STATE_AT + 1 :]
    assert layout.parse_header(released) == expected._replace(is_released=True)
    assert layout.parse_footer(BLOB, data[layout.HEADER_BYTES + len(PAYLOAD) :]) == layout.block_crcs(PAYLOAD)


@pytest.mark.parametrize(("golden", "unused"), [(V1, {5, 6, 7}), (V2, set[int]())])
def test_every_flipped_bit_of_a_header_shows(golden: str, unused: set[int]) -> None:
    data = bytes.fromhex(golden)[: layout.HEADER_BYTES]
    for bit in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        found = layout.parse_header(bytes(flipped))
        if bit // 8 == layout.STATE_AT or bit // 8 in unused:
            assert found is not None
            assert not found.is_released
        else:
            assert found is None


def test_no_bit_alone_of_a_footer_passes() -> None:
    foot = layout.footer(BLOB, [1, 2, 3])
    assert layout.parse_footer(BLOB, foot) == [1, 2, 3]
    for bit in range(len(foot) * 8):
        flipped = bytearray(foot)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(layout.BlobCorrupt):
            layout.parse_footer(BLOB, bytes(flipped))
