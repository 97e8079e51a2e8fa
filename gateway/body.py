"""A request's body as it arrives: plain, or aws-chunked (signed or not, with or without trailers).

Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks" of the S3 API.

Bytes are passed on as they come, whatever the size of their chunk: some SDKs send all of a body as one. So whoever takes
them must undo it if an error comes later: only at their end do all signatures hold. Bounds: a line 1 KiB, what follows
the trailers 64 KiB.
"""

import asyncio
import hashlib
import hmac
import re
import weakref
from collections.abc import AsyncIterator
from typing import Any

from gateway import checksums
from gateway.errors import S3Error
from gateway.request import Request
from gateway.sigv4 import UNSIGNED

LINE_BYTES_MAX = 1 << 10
REST_BYTES_MAX = 64 << 10  # read after the trailers, so that the connection can be used again
IDLE_S_MAX = 60.0  # a client that sends nothing for so long keeps space from others
TRAILER_LINES_MAX = 16
_STREAMING = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER")
_STREAMING_UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_TRAILERS = {checksums.header(each): each for each in checksums.ALGORITHMS}
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8}|[1-9a-fA-F][0-9a-fA-F]{8,15})(?:;chunk-signature=([0-9a-f]{64}))?\r")


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
        self.trailers: dict[str, str] = {}
        self._data, self._at = b"", 0  # of an aws-chunked body: what came last, and what of it was decoded
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

    async def chunks(self) -> AsyncIterator[bytes]:
        """The decoded bytes; raises unless exactly `length` came and all signatures of chunks and trailers hold.

        `digests.finish` tells whether the digests hold.
        """
        async for data in self._decoded() if self._is_chunked else self.raw():
            self._take(data)
            yield data
        self._check_length()

    async def joined(self) -> bytes:
        """`chunks` of a small body in one piece; without a step for each layer where it comes so."""
        if self._is_chunked:
            return b"".join([chunk async for chunk in self.chunks()])
        parts = []
        while not self._ended:
            parts.append(await self._more())
            self._take(parts[-1])
        self._check_length()
        return b"".join(parts)  # of one part that part itself

    def _take(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self.length:
            raise S3Error("IncompleteBody", "More bytes than announced were sent.")
        self.digests.update(data)

    def _check_length(self) -> None:
        if self._received != self.length:
            raise S3Error("IncompleteBody")

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

    async def _decoded(self) -> AsyncIterator[bytes]:
        signing = self._request.signing if self._mode in _STREAMING else None
        previous = signing.seed if signing else ""
        while True:
            match = _CHUNK.fullmatch(await self._line())
            if match is None or (signing is not None and match[2] is None):
                raise S3Error("InvalidRequest", "The chunk header is malformed.")
            size = remaining = int(match[1], 16)
            digest = hashlib.sha256() if signing is not None else None
            while remaining:
                piece = await self._piece(remaining)
                remaining -= len(piece)
                if digest is not None:
                    digest.update(piece)
                yield piece
            if signing is not None and digest is not None:
                previous = self._check(signing.chunk(previous, digest.hexdigest()), match[2])
            if size == 0:
                break
            if await self._line() != b"\r":
                raise S3Error("InvalidRequest", "The chunk is malformed.")
        await self._read_trailers(previous)

    async def _read_trailers(self, previous: str) -> None:
        lines, is_signed, raw = "", False, b""
        signature_due = self._mode == _STREAMING[1]
        for _ in range(TRAILER_LINES_MAX):
            raw = await self._line(at_end_ok=True)
            line = raw.removesuffix(b"\r")
            if not line and (not signature_due or self._is_drained()):
                break
            if not line:
                continue  # some SDKs put an empty line before the trailer's signature
            raw_name, separator, raw_value = line.decode("latin-1").partition(":")
            name, value = raw_name.strip(" \t").lower(), raw_value.strip(" \t")
            if signature_due and name == "x-amz-trailer-signature":
                self._check(self._request.signing.trailer(previous, lines.encode("latin-1")), value.encode())
                is_signed = True
                break  # what follows is not signed
            if not name or not separator or name in self.trailers:
                raise S3Error("MalformedTrailerError")
            self.trailers[name] = value
            lines += f"{name}:{value}\n"
        if signature_due and not is_signed:
            raise S3Error("SignatureDoesNotMatch")
        if self._announced and self._announced not in self.trailers:
            raise S3Error("MalformedTrailerError" if raw else "IncompleteBody")  # an empty line ended it, or nothing did
        rest = 0
        while not self._ended and rest <= REST_BYTES_MAX:
            rest += len(await self._more())

    def _is_drained(self) -> bool:
        return self._ended and self._at == len(self._data)

    @staticmethod
    def _check(expected: str, received: bytes) -> str:
        if not hmac.compare_digest(expected.encode(), received):
            raise S3Error("SignatureDoesNotMatch")
        return expected

    async def _line(self, *, at_end_ok: bool = False) -> bytes:
        """To the next line feed, without it."""
        line = b""
        while (end := self._data.find(b"\n", self._at, self._at + LINE_BYTES_MAX + 2)) < 0:
            if len(line) + len(self._data) - self._at > LINE_BYTES_MAX + 1:
                raise S3Error("InvalidRequest", "A chunk header is too long.")
            line += self._data[self._at :]
            self._at = len(self._data)
            if self._ended:
                if at_end_ok and not line:
                    return b""
                raise S3Error("IncompleteBody")
            self._data, self._at = await self._more(), 0
        line += self._data[self._at : end]
        self._at = end + 1
        if len(line) > LINE_BYTES_MAX + 1:
            raise S3Error("InvalidRequest", "A chunk header is too long.")
        return line

    async def _piece(self, size_max: int) -> bytes:
        """What came next, at least a byte; all of it if it may be, so that it is not copied."""
        while self._at == len(self._data):
            if self._ended:
                raise S3Error("IncompleteBody")
            self._data, self._at = await self._more(), 0
        piece = self._data[self._at : self._at + size_max]
        self._at += len(piece)
        return piece

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
