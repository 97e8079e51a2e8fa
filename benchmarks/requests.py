"""Requests as SDKs send them over HTTP, as bytes: signed in 64 KiB chunks, with a checksum behind the body.

`Target.is_plain`: as few headers as there can be, and bodies that nobody signs: what HTTPS clients that ask for speed send.
A body's digests are computed once, so that what is measured is not the load generator.
"""

import base64
import functools
import hashlib
import hmac
import time
from typing import NamedTuple

from awscrt.checksums import crc32c

from gateway import sigv4
from gateway.claim import ALGORITHM

REGION = "us-east-1"
CHUNK_BYTES = 64 << 10
_CHUNKED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
_TRAILER = "x-amz-checksum-crc32c"
_SIGNATURE_CHARS = 64
_AGENT = (
    "Load/1.0 md/Botocore#1.40.0 ua/2.1 os/linux md/arch#x86_64 lang/python#3.11 md/pyimpl#CPython cfg/retry-mode#legacy"
)
_UNSIGNED = ("accept-encoding", "authorization", "connection", "content-length", "user-agent")
_signing_key = functools.lru_cache(sigv4.signing_key)  # as SDKs keep it, all day


class Target(NamedTuple):
    host: str
    port: int
    access_key: str
    secret: str
    is_plain: bool = False


class Call(NamedTuple):
    method: str
    path: str
    query: str = ""  # sorted and encoded, as it is signed
    body: bytes = b""


class Signer(NamedTuple):
    key: bytes
    date: str
    scope: str

    def sign(self, kind: str, text: str) -> str:
        return hmac.digest(self.key, f"{kind}\n{self.date}\n{self.scope}\n{text}".encode(), "sha256").hex()


def request_pieces(target: Target, call: Call) -> list[bytes | memoryview]:
    """To be written one after the other: a body is not copied."""
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{date[:8]}/{REGION}/s3/aws4_request"
    signer = Signer(_signing_key(target.secret, scope), date, scope)
    headers = {"host": f"{target.host}:{target.port}", "x-amz-date": date} | _headers(target, call)
    signed = [name for name in sorted(headers) if name not in _UNSIGNED]
    fields = "".join(f"{name}:{headers[name]}\n" for name in signed)
    names = ";".join(signed)
    canonical = f"{call.method}\n{call.path}\n{call.query}\n{fields}\n{names}\n{headers['x-amz-content-sha256']}"
    signature = signer.sign(ALGORITHM, hashlib.sha256(canonical.encode()).hexdigest())
    url = f"{call.path}?{call.query}" if call.query else call.path
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"{call.method} {url} HTTP/1.1\r\n{lines}authorization: {ALGORITHM} Credential={target.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}\r\n\r\n"
    ).encode()
    is_chunked = headers["x-amz-content-sha256"] == _CHUNKED
    return [head, *(_chunks(signer, signature, call.body) if is_chunked else [call.body] * bool(call.body))]


def _headers(target: Target, call: Call) -> dict[str, str]:
    size = len(call.body)
    if target.is_plain:
        return {"x-amz-content-sha256": sigv4.UNSIGNED, "content-length": str(size)}
    common = {"user-agent": _AGENT, "accept-encoding": "identity"}
    common |= {"amz-sdk-invocation-id": "5e2b6f0c-6c0f-4f0e-9f7b-0d3f1f1c2a77", "amz-sdk-request": "attempt=1"}
    if call.method == "PUT" and call.body:
        return common | {
            "content-type": "application/octet-stream",
            "content-encoding": "aws-chunked",
            "content-length": str(_chunked_bytes(size)),
            "x-amz-content-sha256": _CHUNKED,
            "x-amz-decoded-content-length": str(size),
            "x-amz-trailer": _TRAILER,
        }
    wants_checksum = {"x-amz-checksum-mode": "ENABLED"} if call.method in ("GET", "HEAD") and not call.query else {}
    return common | {
        "x-amz-content-sha256": hashlib.sha256(call.body).hexdigest(),
        "content-length": str(size),
        **wants_checksum,
    }


@functools.lru_cache(64)
def _digests(body: bytes) -> tuple[list[str], str]:
    """SHA-256 of each chunk, and the checksum of all."""
    chunks = [body[at : at + CHUNK_BYTES] for at in range(0, len(body), CHUNK_BYTES)]
    checksum = base64.b64encode(crc32c(body).to_bytes(4, "big")).decode()
    return [hashlib.sha256(chunk).hexdigest() for chunk in chunks], checksum


def _chunks(signer: Signer, seed: str, body: bytes) -> list[bytes | memoryview]:
    digests, checksum = _digests(body)
    pieces: list[bytes | memoryview] = []
    previous, view = seed, memoryview(body)
    for number, digest in enumerate([*digests, sigv4.EMPTY_SHA256]):
        chunk = view[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]
        previous = signer.sign(f"{ALGORITHM}-PAYLOAD", f"{previous}\n{sigv4.EMPTY_SHA256}\n{digest}")
        pieces += [f"{len(chunk):x};chunk-signature={previous}\r\n".encode(), chunk, b"\r\n" if chunk else b""]
    trailer = f"{_TRAILER}:{checksum}\n"
    last = signer.sign(f"{ALGORITHM}-TRAILER", f"{previous}\n{hashlib.sha256(trailer.encode()).hexdigest()}")
    return [*pieces, f"{trailer[:-1]}\r\nx-amz-trailer-signature:{last}\r\n\r\n".encode()]


def _chunked_bytes(size: int) -> int:
    whole, rest = divmod(size, CHUNK_BYTES)
    sizes = [CHUNK_BYTES] * whole + [rest] * bool(rest)
    around = len(";chunk-signature=") + _SIGNATURE_CHARS + 2
    chunks = sum(len(f"{each:x}") + around + each + 2 for each in sizes) + 1 + around
    trailer = len(_TRAILER) + 1 + len("AAAAAA==") + 2
    return chunks + trailer + len("x-amz-trailer-signature:") + _SIGNATURE_CHARS + 4
