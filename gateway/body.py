"""A request's body as it arrives: plain, or aws-chunked (signed or not, with or without trailers).

It is given in windows while it comes, and hashed beside the loop meanwhile. So whoever takes them must undo it if an error
comes later: only at their end do all signatures hold. What is wrong is told in the order of the body's bytes, however these
came. Bound: what follows the trailers 64 KiB.
"""

import asyncio
import re
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from gateway import checksums
from gateway.chunked import Chain, Decoder, Segment
from gateway.errors import S3Error
from gateway.hashing import BESIDE_BYTES_MIN, Hashing
from gateway.request import Request
from gateway.sigv4 import UNSIGNED

WINDOW_BYTES = 512 << 10  # of a large body, at once: whole blocks of a volume
REST_BYTES_MAX = 64 << 10  # read after the trailers, so that the connection can be used again
IDLE_S_MAX = 60.0  # a client that sends nothing for so long keeps space from others
_STREAMING = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
_STREAMING_UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_TRAILERS = {checksums.header(each): each for each in checksums.ALGORITHMS}
Ends = list[tuple[int, bytes]]  # where in a window a chunk ends, and how that is signed
Data = TypeVar("Data", bytes, bytes | memoryview)


class ClientGone(Exception):
    """The client broke off; there is nobody to answer."""


class Body:
    def __init__(self, request: Request, algorithm: str = checksums.DEFAULT) -> None:
        """`algorithm`: of the checksum, where the client names none. Raises the S3 error of what is announced wrongly."""
        self._request = request
        self._mode = request.headers.get("x-amz-content-sha256", UNSIGNED)
        self._is_chunked = self._mode in _STREAMING or self._mode == _STREAMING_UNSIGNED
        if self._mode.startswith("STREAMING-") and not self._is_chunked:
            raise S3Error("NotImplemented", f"x-amz-content-sha256 {self._mode} is not supported.")
        is_digest = re.fullmatch(r"[0-9a-f]{64}", self._mode) is not None
        if not (is_digest or self._is_chunked or self._mode == UNSIGNED):
            raise S3Error("InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-… or a SHA-256.")
        self._announced = request.headers.get("x-amz-trailer", "").strip().lower()
        if self._announced and self._announced not in _TRAILERS:
            raise S3Error("InvalidRequest", "The value specified in the x-amz-trailer header is not supported.")
        trailer = _TRAILERS.get(self._announced, "")
        self.length = self._length()
        if self._mode in _STREAMING and request.signing is None:
            raise S3Error("InvalidRequest", "Chunks can be signed in requests of signature version 4 only.")
        self.digests = checksums.BodyDigests(
            request.headers, trailer, signed=self._mode if is_digest else "", default=algorithm
        )
        self._chain = Chain(request.signing) if self._mode in _STREAMING else None
        self._decoder = self._new_decoder() if self._is_chunked else None
        self._ended = False
        self._received = 0  # bytes, decoded
        self._reader: asyncio.Task[Any] | None = None  # that waits for the next message
        self._waits_since_s = 0.0
        self._is_idle = False
        self._timer: asyncio.TimerHandle | None = None

    def _length(self) -> int:
        headers = self._request.headers
        text = headers.get("x-amz-decoded-content-length" if self._is_chunked else "content-length", "")
        if not text and not self._is_chunked and "transfer-encoding" not in headers:
            text = "0" if self._request.method != "PUT" else ""
        if not re.fullmatch(r"[0-9]{1,15}", text):
            raise S3Error("MissingContentLength")
        return int(text)

    def _new_decoder(self) -> Decoder:
        is_signed, signs_trailers = self._chain is not None, self._mode == _STREAMING[1]
        return Decoder(is_signed=is_signed, signs_trailers=signs_trailers, announced=self._announced)

    @property
    def trailers(self) -> dict[str, str]:
        return self._decoder.trailers if self._decoder is not None else {}

    async def windows(self) -> AsyncIterator[bytes]:
        """The payload in pieces of `WINDOW_BYTES`, and a last one. Raises unless exactly `length` came and all signatures
        of chunks and trailers hold; `digests.finish` tells whether the digests do."""
        hashing = Hashing(self._lanes(), is_beside=self.length >= BESIDE_BYTES_MIN)
        parts: list[bytes | memoryview] = []
        size, ends = 0, Ends()
        error: S3Error | None = None
        try:
            async for data, signature in self._segments():
                at = 0
                while size + len(data) - at > WINDOW_BYTES:
                    start, at = at, at + WINDOW_BYTES - size
                    window, ended = b"".join([*parts, data[start:at]]), ends
                    parts, size, ends = [], 0, []
                    await self._hash(hashing, window, ended)
                    yield window
                parts.append(data[at:])
                size += len(data) - at
                if signature:
                    ends.append((size, signature))
        except S3Error as found:
            error = found
        last = b"".join(parts)
        await self._hash(hashing, last, ends)
        if last and error is None:
            yield last
        await hashing.end()
        self._check(error)

    async def joined(self) -> bytes:
        """`windows` of a small body in one piece."""
        parts: list[bytes | memoryview] = []
        error: S3Error | None = None
        try:
            if self._decoder is None:
                while not self._ended:
                    parts.append(self._take(await self._more()))
            else:
                async for data, signature in self._segments():
                    parts.append(data)
                    if self._chain is not None:
                        self._chain.take(data, [(len(data), signature)] if signature else ())
        except S3Error as found:
            error = found
        joined = b"".join(parts)  # of one part that part itself
        self.digests.update(joined)
        self._check(error)
        return joined

    async def whole(self, size_max: int) -> bytes:
        """A small body, verified. Raises MaxMessageLengthExceeded over `size_max` bytes."""
        if self.length > size_max:
            raise S3Error("MaxMessageLengthExceeded")
        data = await self.joined()
        self.digests.finish(self.trailers)
        return data

    async def raw(self) -> AsyncIterator[bytes]:
        """The bytes as they come, for who knows better what is in them."""
        while not self._ended:
            if data := await self._more():
                yield data

    async def _segments(self) -> AsyncIterator[Segment]:
        """What came, up to the first byte that is amiss."""
        decoder = self._decoder
        while not (self._ended or (decoder is not None and decoder.is_whole)):
            data = await self._more()
            if decoder is None:
                yield Segment(self._take(data))
                continue
            for segment in decoder.feed(data):
                self._take(segment.data)
                yield segment
            if decoder.error is not None:
                raise decoder.error
        if decoder is None:
            return
        decoder.end()
        if decoder.error is not None:
            raise decoder.error
        rest = 0
        while not self._ended and rest <= REST_BYTES_MAX:
            rest += len(await self._more())

    def _take(self, data: Data) -> Data:
        self._received += len(data)
        if self._received > self.length:
            raise S3Error("IncompleteBody", "More bytes than announced were sent.")
        return data

    def _lanes(self) -> list[Callable[[bytes], None]]:
        """MD5, the slowest, beside what else is slow."""
        digests = self.digests
        return [digests.md5.update, digests.update_others] if digests.are_others_slow else [digests.md5.update]

    async def _hash(self, hashing: Hashing, window: bytes, ends: Ends) -> None:
        await hashing.add(window)
        if not self.digests.are_others_slow:
            self.digests.update_others(window)
        if self._chain is not None:
            self._chain.take(window, ends)
            if self._chain.error is not None:
                raise self._chain.error

    def _check(self, error: S3Error | None) -> None:
        """All of it was hashed. `error`: what ended it. A signature that does not hold was before that."""
        chain, decoder = self._chain, self._decoder
        if chain is not None and decoder is not None:
            if error is None and decoder.trailer_signature:
                chain.check_trailers(decoder.signed_trailers, decoder.trailer_signature)
            error = chain.error or error
        if error is not None:
            raise error
        if self._received != self.length:
            raise S3Error("IncompleteBody")

    async def _more(self) -> bytes:
        """Raises RequestTimeout, or `ClientGone`. One timer for all messages of a body."""
        loop = asyncio.get_running_loop()
        self._waits_since_s, self._reader = loop.time(), asyncio.current_task(loop)
        if self._timer is None:
            self._timer = loop.call_later(IDLE_S_MAX, _look, weakref.ref(self))
        try:
            message = await self._request.receive()
        except asyncio.CancelledError:
            if not self._is_idle or self._reader is None or self._reader.uncancel() > 0:
                raise
            raise S3Error("RequestTimeout") from None
        finally:
            self._reader = None
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._ended = self._request.is_drained = not message.get("more_body", False)
        if self._ended:
            self._timer.cancel()
        body: bytes = message.get("body", b"")
        self._request.received_bytes += len(body)
        return body

    def look(self) -> None:
        """Whether the client sends: whoever waited too long for it is woken."""
        loop = asyncio.get_running_loop()
        idle_s = loop.time() - self._waits_since_s if self._reader is not None else 0.0
        if self._reader is None or idle_s < IDLE_S_MAX:
            self._timer = loop.call_later(IDLE_S_MAX - idle_s, _look, weakref.ref(self))
        else:
            self._is_idle = True
            self._reader.cancel()


def _look(body: "weakref.ref[Body]") -> None:
    """A body that nobody reads any more is not kept for its timer."""
    if (found := body()) is not None:
        found.look()
