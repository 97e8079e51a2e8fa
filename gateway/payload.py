"""Payloads: from a request's body into blobs, from an object's extents into a response.

Small payloads ride the log; larger ones are streamed in extents of at most 64 MiB. Whatever goes wrong before the
object's command is sent, the blobs written so far are given back.
"""

import contextlib
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Sequence

from awscrt.checksums import crc32c

from datanode.client import GROUP, Blobs
from datanode.node import Writer
from gateway.body import Body
from gateway.checksums import BodyDigests
from topics.objects import Checksum, Extent

INLINE_BYTES_MAX = 128 << 10  # at most this rides the log: written twice, but synced once with its event
EXTENT_BYTES_MAX = 64 << 20
PIECE_BYTES = 8 << 20  # of a body whose length is not known before its end: what it holds in memory
WINDOW_BYTES = 1 << 20  # read from a blob at once: what a slow reader holds in memory


class Stored:
    """The extents of one body and its digests."""

    def __init__(self, extents: list[Extent], etag: str, checksum: Checksum) -> None:
        self.extents = extents
        self.etag = etag
        self.checksum = checksum

    @property
    def size(self) -> int:
        return sum(extent.length for extent in self.extents)


def new_blob() -> str:
    """A UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then random."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return f"{value:032x}"


async def store(blobs: Blobs, body: Body) -> Stored:
    """The body in blobs. Raises S3Error, ClientGone, LogError or OSError; nothing is left behind then."""
    if body.length <= INLINE_BYTES_MAX:
        data = b"".join([chunk async for chunk in body.chunks()])
        etag, checksum = body.digests.finish(body.trailers)
        return Stored(await put_inline(blobs, data), etag, checksum)
    extents = await write_extents(blobs, body.chunks(), body.length)
    try:
        etag, checksum = body.digests.finish(body.trailers)
    except BaseException:
        await release(blobs, extents)
        raise
    return Stored(extents, etag, checksum)


async def store_unsized(blobs: Blobs, chunks: AsyncIterator[bytes], digests: BodyDigests) -> Stored:
    """Like `store`, for a body whose length shows only at its end: an extent for each piece of it."""
    extents: list[Extent] = []
    try:
        async for piece in _pieces(chunks, digests):
            extents += await put(blobs, piece)
        etag, checksum = digests.finish({})
    except BaseException:
        await release(blobs, extents)
        raise
    return Stored(extents, etag, checksum)


async def _pieces(chunks: AsyncIterator[bytes], digests: BodyDigests) -> AsyncIterator[bytes]:
    buffer = bytearray()
    async for chunk in chunks:
        digests.update(chunk)
        buffer += chunk
        while len(buffer) >= PIECE_BYTES:
            yield bytes(buffer[:PIECE_BYTES])
            del buffer[:PIECE_BYTES]
    if buffer:
        yield bytes(buffer)


async def put(blobs: Blobs, data: bytes) -> list[Extent]:
    if len(data) <= INLINE_BYTES_MAX:
        return await put_inline(blobs, data)

    async def once() -> AsyncIterator[bytes]:
        yield data

    return await write_extents(blobs, once(), len(data))


async def put_inline(blobs: Blobs, data: bytes) -> list[Extent]:
    if not data:
        return []
    blob = new_blob()
    position = await blobs.put(blob, data)
    return [Extent(blob, GROUP, len(data), crc32c(data), position)]


async def write_extents(blobs: Blobs, chunks: AsyncIterator[bytes], length: int) -> list[Extent]:
    """Streams `length` bytes into extents, each durable; on any error all of them are given back."""
    extents: list[Extent] = []
    writer: Writer | None = None
    blob, room, remaining = "", 0, length
    try:
        async for chunk in chunks:
            position = 0
            while position < len(chunk):
                if writer is None:
                    blob, room = new_blob(), min(EXTENT_BYTES_MAX, remaining)
                    size, writer = room, await blobs.create(blob, room)
                piece = chunk[position : position + room]
                await writer.write(piece)
                position, room, remaining = position + len(piece), room - len(piece), remaining - len(piece)
                if room == 0:
                    await writer.commit()
                    extents.append(Extent(blob, GROUP, size, writer.crc32c, -1))
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
        await blobs.release([extent.blob for extent in extents])


async def read(blobs: Blobs, extents: Sequence[Extent], start: int, size: int) -> AsyncIterator[bytes]:
    """`size` bytes from `start`, verified. Raises BlobUnavailable."""
    for extent in extents:
        if size <= 0:
            return
        if start >= extent.length:
            start -= extent.length
            continue
        end = min(extent.length, start + size)
        size -= end - start
        while start < end:
            window = min(WINDOW_BYTES, end - start)
            yield await blobs.read(extent, start, window)
            start += window
        start = 0


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
