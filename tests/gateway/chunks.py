"""Bodies in chunks as clients frame and sign them: by the S3 API's text, not by the gateway's code."""

import base64
import hashlib
import hmac
import zlib
from collections.abc import Sequence

from gateway.request import Request
from gateway.sigv4 import Signing, signing_key
from tests.gateway.requests import SECRET, request

SIGNED, TRAILED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
DATE, SCOPE = "20130524T000000Z", "20130524/us-east-1/s3/aws4_request"
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"  # of the example in the S3 API's text
KEY = signing_key(SECRET, SCOPE)


def sign(kind: str, previous: str, *digests: str) -> str:
    """As the S3 API's text has it, not as the gateway does it."""
    text = "\n".join([kind, DATE, SCOPE, previous, *digests])
    return hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def chunked(chunks: Sequence[bytes], trailer: bytes = b"", *, is_signed: bool = True) -> bytes:
    """The chunks as a client frames them; `trailer` is "name:value"."""
    framed, previous = b"", SEED
    for data in [*chunks, b""]:
        previous = sign("AWS4-HMAC-SHA256-PAYLOAD", previous, sha256(b""), sha256(data))
        mark = f";chunk-signature={previous}" if is_signed else ""
        framed += f"{len(data):x}{mark}\r\n".encode() + data + (b"\r\n" if data else b"")
    if trailer:
        framed += trailer + b"\r\n"
        if is_signed:
            last = sign("AWS4-HMAC-SHA256-TRAILER", previous, sha256(trailer + b"\n"))
            framed += f"x-amz-trailer-signature:{last}\r\n".encode()
    return framed + b"\r\n"


def asked(mode: str, length: int, pieces: Sequence[bytes], trailer: str = "", **more: str) -> Request:
    headers = {"x-amz-content-sha256": mode}
    headers["x-amz-decoded-content-length" if mode.startswith("STREAMING") else "content-length"] = str(length)
    if trailer:
        headers["x-amz-trailer"] = trailer
    made = request("PUT", "/b/k", headers | {name.replace("_", "-"): value for name, value in more.items()}, body=pieces)
    made.signing = Signing(KEY, DATE, SCOPE, SEED)
    return made


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


DATA = b"The quick brown fox"
TRAILER = f"x-amz-checksum-crc32:{crc32(DATA)}".encode()
FRAMED = {
    SIGNED: chunked([DATA[:7], DATA[7:]]),
    TRAILED: chunked([DATA[:7], DATA[7:]], TRAILER),
    UNSIGNED: chunked([DATA[:7], DATA[7:]], TRAILER, is_signed=False),
}


def whole(mode: str, pieces: Sequence[bytes], length: int = len(DATA)) -> Request:
    return asked(mode, length, pieces, "" if mode == SIGNED else "x-amz-checksum-crc32")
