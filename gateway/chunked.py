"""aws-chunked bodies: what a client frames in chunks, signs, and ends with trailers.

Source: "Signature Calculations for the Authorization Header: Transferring Payload in Multiple Chunks" of the S3 API.
`Decoder` takes the bytes as they come and looks at their frame alone; `Chain` at what the chunks are signed with.
Bounds: a line 1 KiB, 16 lines of trailers.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from gateway.errors import S3Error
from gateway.sigv4 import Signing

LINE_BYTES_MAX = 1 << 10
TRAILER_LINES_MAX = 16
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,8}|[1-9a-fA-F][0-9a-fA-F]{8,15})(?:;chunk-signature=([0-9a-f]{64}))?\r")
_NO_TEXT = memoryview(b"")


class Segment(NamedTuple):
    """Payload that came at once, of one chunk."""

    data: bytes | memoryview
    signature: bytes = b""  # of the chunk that ends with it; empty inside of one, or where nothing is signed


class Decoder:
    """Pure. What is amiss is in `error`, and all before it was given."""

    def __init__(self, *, is_signed: bool, signs_trailers: bool, announced: str) -> None:
        """`announced`: the trailer that there must be, if one must."""
        self._is_signed = is_signed
        self._signs_trailers = signs_trailers
        self._announced = announced
        self._line = b""  # of which the end has not come
        self._left = 0  # bytes of the chunk
        self._signature = b""
        self._takes: Callable[[bytes, list[Segment]], None] = self._take_header
        self._trailer_lines = 0
        self.error: S3Error | None = None
        self.is_whole = False  # what follows counts for nothing
        self.trailers: dict[str, str] = {}
        self.signed_trailers = ""  # in the form that is signed
        self.trailer_signature = ""

    def feed(self, data: bytes) -> list[Segment]:
        segments: list[Segment] = []
        view, at, end = memoryview(data), 0, len(data)
        while at < end and not self.is_whole and self.error is None:
            if self._left:
                size = min(self._left, end - at)
                self._left -= size
                segments.append(Segment(view[at : at + size], b"" if self._left else self._signature))
                at += size
                continue
            stop = data.find(b"\n", at, at + LINE_BYTES_MAX + 2)
            line = self._line + data[at : end if stop < 0 else stop]
            if len(line) > LINE_BYTES_MAX + 1:
                self.error = S3Error("InvalidRequest", "A chunk header is too long.")
            elif stop < 0:
                self._line, at = line, end
            else:
                self._line, at = b"", stop + 1
                self._takes(line, segments)
        return segments

    def end(self) -> None:
        """No more comes."""
        if self.is_whole or self.error is not None:
            return
        if self._takes != self._take_trailer or self._line:
            self.error = S3Error("IncompleteBody")
        else:
            self._end_trailers(was_ended=False)

    def _take_header(self, line: bytes, segments: list[Segment]) -> None:
        match = _CHUNK.fullmatch(line)
        if match is None or (self._is_signed and match[2] is None):
            self.error = S3Error("InvalidRequest", "The chunk header is malformed.")
            return
        self._left = int(match[1], 16)
        self._signature = match[2] if self._is_signed else b""
        self._takes = self._take_end
        if self._left == 0:
            segments.append(Segment(_NO_TEXT, self._signature))
            self._takes = self._take_trailer

    def _take_end(self, line: bytes, segments: list[Segment]) -> None:
        """Behind a chunk's last byte."""
        self._takes = self._take_header
        if line != b"\r":
            self.error = S3Error("InvalidRequest", "The chunk is malformed.")

    def _take_trailer(self, raw: bytes, segments: list[Segment]) -> None:
        self._trailer_lines += 1
        line = raw.removesuffix(b"\r")
        if not line:
            if not self._signs_trailers:  # some SDKs put an empty line before the trailer's signature
                self._end_trailers(was_ended=bool(raw))
        else:
            raw_name, separator, raw_value = line.decode("latin-1").partition(":")
            name, value = raw_name.strip(" \t").lower(), raw_value.strip(" \t")
            if self._signs_trailers and name == "x-amz-trailer-signature":
                self.trailer_signature = value
                self._end_trailers(was_ended=True)  # what follows is not signed
                return
            if not name or not separator or name in self.trailers:
                self.error = S3Error("MalformedTrailerError")
                return
            self.trailers[name] = value
            self.signed_trailers += f"{name}:{value}\n"
        if self._trailer_lines == TRAILER_LINES_MAX and not self.is_whole:
            self._end_trailers(was_ended=bool(raw))

    def _end_trailers(self, *, was_ended: bool) -> None:
        """`was_ended`: by the client, not by the end of what came."""
        self.is_whole = True
        if self._signs_trailers and not self.trailer_signature:
            self.error = S3Error("SignatureDoesNotMatch")
        elif self._announced and self._announced not in self.trailers:
            self.error = S3Error("MalformedTrailerError" if was_ended else "IncompleteBody")


class Chain:
    """The signatures of chunks, each of which is over the one before. One that does not hold is in `error`."""

    def __init__(self, signing: Signing) -> None:
        self._signing = signing
        self._previous = signing.seed
        self._sha256 = hashlib.sha256()
        self.error: S3Error | None = None

    def take(self, window: bytes | memoryview, ends: Iterable[tuple[int, bytes]]) -> None:
        """`ends`: where in the window a chunk ends, and how it is signed."""
        view, at = memoryview(window), 0
        for end, signature in ends:
            self._sha256.update(view[at:end])
            self._previous = self._signing.chunk(self._previous, self._sha256.hexdigest())
            self._compare(self._previous, signature)
            self._sha256, at = hashlib.sha256(), end
        if at < len(view):
            self._sha256.update(view[at:])

    def check_trailers(self, lines: str, signature: str) -> None:
        self._compare(self._signing.trailer(self._previous, lines.encode("latin-1")), signature.encode())

    def _compare(self, expected: str, given: bytes) -> None:
        if not hmac.compare_digest(expected.encode(), given):
            self.error = self.error or S3Error("SignatureDoesNotMatch")
