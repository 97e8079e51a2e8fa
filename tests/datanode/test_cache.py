"""Small blobs in memory: bounded, and the one that was asked for longest ago goes first."""

import asyncio
from typing import Any, cast

from datanode.cache import BLOB_BYTES_MAX, BlobCache
from datanode.client import Blobs
from topics.objects import Extent


def test_the_one_that_was_asked_for_longest_ago_goes_first() -> None:
    cache = BlobCache(3 * 1256)
    for name in "abc":
        cache.put(name, name.encode() * 1000)
    assert cache.get("a") == b"a" * 1000
    cache.put("d", b"d" * 1000)
    assert [name for name in "abcd" if cache.get(name) is not None] == ["a", "c", "d"]


def test_it_holds_no_more_than_its_bound() -> None:
    cache = BlobCache(100_000)
    for number in range(10_000):
        cache.put(f"{number}", bytes(number % 300))
        assert cache.used_bytes <= 100_000
    assert cache.used_bytes > 90_000
    held = [data for number in range(10_000) if (data := cache.get(f"{number}")) is not None]
    assert sum(map(len, held)) + 256 * len(held) == cache.used_bytes


def test_what_is_large_or_known_is_not_taken() -> None:
    cache = BlobCache(10 * BLOB_BYTES_MAX)
    cache.put("large", bytes(BLOB_BYTES_MAX + 1))
    cache.put("small", b"1")
    cache.put("small", b"1")
    assert cache.get("large") is None
    assert cache.used_bytes == 257
    nothing = BlobCache(0)
    nothing.put("small", b"1")
    assert (nothing.get("small"), nothing.used_bytes) == (None, 0)


def test_a_part_that_was_read_is_not_taken_for_all() -> None:
    class Counted(Blobs):
        def __init__(self) -> None:
            super().__init__(cast(Any, None), cast(Any, None), cast(Any, None), durable=False, cache_bytes=10_000)
            self.reads = 0

        async def _read(self, extent: Extent, start: int, size: int) -> bytes:
            self.reads += 1
            return b"0123456789"[start : start + size]

    async def case() -> None:
        blobs, extent = Counted(), Extent("ab" * 16, 0, 10, 0, 1)
        assert await blobs.read(extent, 2, 3) == b"234"
        assert await blobs.read(extent, 0, 10) == b"0123456789"
        assert await blobs.read(extent, 0, 10) == b"0123456789"
        assert await blobs.read(extent, 2, 3) == b"234"
        assert blobs.reads == 2

    asyncio.run(case())
