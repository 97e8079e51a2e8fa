"""Bodies on their way into blobs: nothing stands before all signatures and digests hold; of what fails nothing is left."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from datanode.client import Blobs
from gateway import payload
from gateway.body import Body
from gateway.errors import S3Error
from gateway.request import Request
from tests.gateway.chunks import SIGNED, TRAILED, UNSIGNED, asked, chunked, crc32
from topics.objects import Extent

SIZE = payload.INLINE_BYTES_MAX + 100
DATA = bytes(SIZE)


class Memory:
    """Blobs that remember what became of each."""

    def __init__(self) -> None:
        self.blobs: list[bytearray] = []
        self.committed: set[int] = set()
        self.given_back: set[int] = set()

    async def put(self, data: bytes, partition: int) -> Extent:
        writer = await self.create(len(data), partition)
        await writer.write(data)
        return await writer.commit()

    async def create(self, length: int, partition: int) -> "_Writer":
        self.blobs.append(bytearray())
        return _Writer(self, len(self.blobs) - 1, length)

    async def release(self, extents: Sequence[Extent]) -> None:
        self.given_back |= {int(each.blob) for each in extents}


class _Writer:
    def __init__(self, memory: Memory, number: int, length: int) -> None:
        self._memory, self._number, self._length = memory, number, length

    async def write(self, data: bytes) -> None:
        self._memory.blobs[self._number] += data

    async def commit(self) -> Extent:
        assert len(self._memory.blobs[self._number]) == self._length
        self._memory.committed.add(self._number)
        return Extent(str(self._number), 0, self._length, 0, 0)

    async def abort(self) -> None:
        self._memory.given_back.add(self._number)


def store(made: Request, memory: Memory) -> payload.Stored:
    return asyncio.run(payload.store(cast(Blobs, memory), Body(made), 0))


@pytest.mark.parametrize("extent_bytes", [payload.EXTENT_BYTES_MAX, 100_000, SIZE // 4])
@pytest.mark.parametrize("mode", [SIGNED, TRAILED, UNSIGNED])
def test_the_last_extent_stands_only_when_all_holds(monkeypatch: pytest.MonkeyPatch, mode: str, extent_bytes: int) -> None:
    monkeypatch.setattr(payload, "EXTENT_BYTES_MAX", extent_bytes)
    trailer = "" if mode == SIGNED else "x-amz-checksum-crc32"
    right = f"{trailer}:{crc32(DATA)}".encode() if trailer else b""
    wrong = right.replace(crc32(DATA).encode(), crc32(b"other").encode())
    is_signed = mode != UNSIGNED

    good = chunked([DATA], right, is_signed=is_signed)
    memory = Memory()
    stored = store(asked(mode, SIZE, [good[at : at + 65_536] for at in range(0, len(good), 65_536)], trailer), memory)
    assert b"".join(bytes(each) for each in memory.blobs) == DATA
    assert (stored.size, memory.given_back) == (SIZE, set())
    assert memory.committed == set(range(len(memory.blobs)))

    bad = chunked([DATA], wrong, is_signed=is_signed) if trailer else good.replace(DATA, DATA[:-1] + b"!")
    memory = Memory()
    with pytest.raises(S3Error, match="BadDigest" if trailer else "SignatureDoesNotMatch"):
        store(asked(mode, SIZE, [bad], trailer), memory)
    assert len(memory.blobs) - 1 not in memory.committed
    assert memory.given_back == set(range(len(memory.blobs)))


def test_a_body_that_breaks_off_leaves_nothing() -> None:
    memory = Memory()
    with pytest.raises(S3Error, match="IncompleteBody"):
        store(asked("UNSIGNED-PAYLOAD", SIZE, [DATA[:-1]]), memory)
    assert (memory.committed, memory.given_back) == (set(), {0})


def test_a_small_body_is_put_only_when_all_holds() -> None:
    memory = Memory()
    with pytest.raises(S3Error, match="SignatureDoesNotMatch"):
        store(asked(SIGNED, 5, [chunked([b"first"]).replace(b"first", b"FIRST")]), memory)
    assert memory.blobs == []
