"""A load generator: one process, several kept-alive connections, each request signed (Signature V4, unsigned payload).

Only what a measurement needs: requests are put together as bytes, answers are read by their Content-Length.
"""

import asyncio
import functools
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote, urlencode

from gateway import sigv4
from gateway.claim import ALGORITHM

REGION = "us-east-1"
PAYLOAD = "UNSIGNED-PAYLOAD"
signing_key = functools.lru_cache(sigv4.signing_key)  # as SDKs keep it, all day


class Target(NamedTuple):
    host: str
    port: int
    access_key: str
    secret: str


class Call(NamedTuple):
    method: str
    path: str
    query: str = ""
    body: bytes = b""


class Outcome(NamedTuple):
    latencies_s: list[float]
    keys: int  # that listings returned
    started_s: float  # CLOCK_MONOTONIC, shared by all processes
    ended_s: float


def request_bytes(target: Target, call: Call) -> bytes:
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{date[:8]}/{REGION}/s3/aws4_request"
    host = f"{target.host}:{target.port}"
    canonical = (
        f"{call.method}\n{call.path}\n{call.query}\nhost:{host}\nx-amz-content-sha256:{PAYLOAD}\nx-amz-date:{date}\n\n"
        f"host;x-amz-content-sha256;x-amz-date\n{PAYLOAD}"
    )
    text = f"{ALGORITHM}\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.digest(signing_key(target.secret, scope), text.encode(), "sha256").hex()
    url = f"{call.path}?{call.query}" if call.query else call.path
    head = (
        f"{call.method} {url} HTTP/1.1\r\nHost: {host}\r\nx-amz-date: {date}\r\nx-amz-content-sha256: {PAYLOAD}\r\n"
        f"Content-Length: {len(call.body)}\r\nAuthorization: {ALGORITHM} Credential={target.access_key}/{scope},"
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={signature}\r\n\r\n"
    )
    return head.encode() + call.body


async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> bytes:
    """One request and its answer's body. Raises `RuntimeError` for any status but 2xx."""
    writer.write(data)
    await writer.drain()
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    body = await reader.readexactly(length) if length else b""
    if head[9:10] != b"2":
        raise RuntimeError(f"{head[:40]!r} {body[:300]!r}")
    return body


async def _connection(target: Target, next_call: Callable[[], Call], until_s: float, latencies: list[float]) -> int:
    """Returns how many keys the answers listed."""
    reader, writer = await asyncio.open_connection(target.host, target.port, limit=16 << 20)
    keys = 0
    while time.monotonic() < until_s:
        call = next_call()
        data = request_bytes(target, call)
        start = time.perf_counter()
        body = await send(reader, writer, data)
        latencies.append(time.perf_counter() - start)
        keys += body.count(b"<Key>") if call.query else 0
    writer.close()
    return keys


async def _run(target: Target, connections: int, seconds: float, next_call: Callable[[], Call]) -> Outcome:
    latencies: list[float] = []
    started = time.monotonic()
    until = started + seconds
    keys = await asyncio.gather(*(_connection(target, next_call, until, latencies) for _ in range(connections)))
    return Outcome(latencies, sum(keys), started, time.monotonic())


def run(target: Target, connections: int, seconds: float, next_call: Callable[[], Call]) -> Outcome:
    import uvloop  # noqa: PLC0415 - the parent process does not need it

    return uvloop.run(_run(target, connections, seconds, next_call))


def call_once(target: Target, call: Call) -> bytes:
    async def once() -> bytes:
        reader, writer = await asyncio.open_connection(target.host, target.port, limit=16 << 20)
        try:
            return await send(reader, writer, request_bytes(target, call))
        finally:
            writer.close()

    return asyncio.run(once())


def listing(bucket: str, after: str) -> Call:
    query = urlencode(sorted({"list-type": "2", "start-after": after}.items()), quote_via=quote)
    return Call("GET", f"/{bucket}", query)
