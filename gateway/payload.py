"""Payloads: from a request's body into blobs, from an object's extents into a response.

Small payloads ride the log; larger ones are streamed in extents of at most 64 MiB, while their signatures and digests are
still being checked. Whatever goes wrong before the object's command is sent, the blobs written so far are given back.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from datanode.client import Blobs
from datanode.extent import ExtentWriter
from gateway.body import Body
from gateway.checksums import BodyDigests
from gateway.hashing import Hashing
from topics.objects import Checksum, Extent

INLINE_BYTES_MAX = 128 << 10  # at most this rides the log: written twice, but synced once with its event
EXTENT_BYTES_MAX = 64 << 20
PIECE_BYTES = 8 << 20  # of a body whose length is not known before its end: what it holds in memory
WINDOW_BYTES = 512 << 10  # of a large payload, read at once: a slow reader holds two of them
JOINED_BYTES_MAX = 1 << 20  # what is smaller is read in one piece


class Stored:
    """The extents of one body and its digests."""

    def __init__(self, extents: list[Extent], etag: str, checksum: Checksum) -> None:
        self.extents = extents
        self.etag = etag
        self.checksum = checksum

    @property
    def size(self) -> int:
        return sum(extent.length for extent in self.extents)


async def store(blobs: Blobs, body: Body, partition: int) -> Stored:
    """The body in blobs, for metadata that lives in `partition`.

    Raises S3Error, ClientGone, LogError or OSError; nothing is left behind then.
    """
    if body.length <= INLINE_BYTES_MAX:
        data = await body.joined()
        etag, checksum = body.digests.finish(body.trailers)
        return Stored(await put_inline(blobs, data, partition), etag, checksum)
    digests: list[tuple[str, Checksum]] = []

    async def verified() -> AsyncIterator[bytes]:
        async for chunk in body.windows():
            yield chunk
        digests.append(body.digests.finish(body.trailers))

    extents = await write_extents(blobs, verified(), body.length, partition)
    return Stored(extents, *digests[0])


async def store_unsized(blobs: Blobs, chunks: AsyncIterator[bytes], digests: BodyDigests, partition: int) -> Stored:
    """Like `store`, for a body whose length shows only at its end: an extent for each piece of it."""
    extents: list[Extent] = []
    hashing = Hashing([digests.update], is_beside=True)
    try:
        async for piece in _pieces(chunks):
            await hashing.add(piece)
            extents += await put(blobs, piece, partition)
        await hashing.end()
        etag, checksum = digests.finish({})
    except BaseException:
        await release(blobs, extents)
        raise
    return Stored(extents, etag, checksum)


async def _pieces(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        while len(buffer) >= PIECE_BYTES:
            yield bytes(buffer[:PIECE_BYTES])
            del buffer[:PIECE_BYTES]
    if buffer:
        yield bytes(buffer)


async def put(blobs: Blobs, data: bytes, partition: int) -> list[Extent]:
    if len(data) <= INLINE_BYTES_MAX:
        return await put_inline(blobs, data, partition)

    async def once() -> AsyncIterator[bytes]:
        yield data

    return await write_extents(blobs, once(), len(data), partition)


async def put_inline(blobs: Blobs, data: bytes, partition: int) -> list[Extent]:
    return [await blobs.put(data, partition)] if data else []


async def write_extents(blobs: Blobs, chunks: AsyncIterator[bytes], length: int, partition: int) -> list[Extent]:
    """Streams `length` bytes into extents, each durable; on any error all of them are given back.

    The last is committed when `chunks` has ended well, so of most refused bodies no extent ever stands.
    """
    extents: list[Extent] = []
    writer: ExtentWriter | None = None
    room, remaining = 0, length
    try:
        async for chunk in chunks:
            position = 0
            while position < len(chunk):
                if writer is not None and room == 0:
                    extents.append(await writer.commit())
                    writer = None
                if writer is None:
                    room = min(EXTENT_BYTES_MAX, remaining)
                    writer = await blobs.create(room, partition)
                piece = chunk[position : position + room]
                await writer.write(piece)
                position, room, remaining = position + len(piece), room - len(piece), remaining - len(piece)
        if writer is not None:
            extents.append(await writer.commit())
            writer = None
    except BaseException:
        if writer is not None:
            await writer.abort()
        await release(blobs, extents)
        raise
    return extents


async def release(blobs: Blobs, extents: Sequence[Extent]) -> None:
    """Give back what no command will name; if even that fails, the orphan sweep finds them."""
    with contextlib.suppress(Exception):
        await blobs.release(extents)


async def read(
    blobs: Blobs, extents: Sequence[Extent], start: int, size: int, check: Callable[[], None]
) -> AsyncIterator[bytes]:
    """`size` bytes from `start`, verified, the next window while one is sent; `check` raises where the read may not go on.
    Raises BlobUnavailable, too."""
    ahead: asyncio.Task[bytes] | None = None
    try:
        for extent, at, length in _windows(extents, start, size):
            check()
            reading = asyncio.create_task(blobs.read(extent, at, length))
            reading.add_done_callback(_heard)
            ahead, before = reading, ahead
            if before is not None:
                yield await before
        if ahead is not None:
            yield await ahead
    finally:
        if ahead is not None:
            ahead.cancel()


def _windows(extents: Sequence[Extent], start: int, size: int) -> Iterator[tuple[Extent, int, int]]:
    """(extent, start in it, bytes) of each window."""
    for extent in extents:
        end = min(extent.length, start + size)
        while start < end:
            window = min(WINDOW_BYTES, end - start)
            yield extent, start, window
            start, size = start + window, size - window
        start -= min(start, extent.length)


def _heard(reading: asyncio.Task[bytes]) -> None:
    """Whoever wanted it may be gone."""
    if not reading.cancelled():
        reading.exception()


async def joined(blobs: Blobs, extents: Sequence[Extent], start: int, size: int, check: Callable[[], None]) -> bytes:
    """`read` in one piece, of at most `JOINED_BYTES_MAX`."""
    if len(extents) == 1:  # as most are: no generator
        check()
        return await blobs.read(extents[0], start, size)
    return b"".join([chunk async for chunk in read(blobs, extents, start, size, check)])


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
