"""A data node over HTTP, for gateways and its peers. Every request is signed with the cluster's secret.

    PUT /blobs/{id}                 the payload, with Content-Length; 201 when it is durable, with its crc32c
    GET /blobs/{id}?position=N      Range: bytes=a-b; 206 with verified bytes and their crc32c

401 not signed as it must be; 404 no such blob, or damaged bytes, which are never sent; 409 the blob is there already; 411
no length; 416 no such range; 503 behind; 507 the disk cannot be written. The bodies of refusals are one line of text.
"""

import asyncio
import re
import time
from collections.abc import Callable

from awscrt.checksums import crc32c
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from datanode.node import BlobUnavailable, DataNode
from datanode.store import BlobExists
from topics.secret import ClusterSecret

CRC32C = "x-bucketlog-crc32c"  # of the bytes sent, 8 hexadecimal digits
READ_BYTES_MAX = 8 << 20  # a node holds this much in memory for each request
BEHIND_S_MAX = 5.0  # how long a read waits for a record of `writes` that is on its way
_BLOB = re.compile(r"[0-9a-f]{32}")
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{1,15})")


def create_node_app(node: DataNode, secret: ClusterSecret, now_s: Callable[[], float] = time.time) -> Starlette:
    async def blob(request: Request) -> Response:
        headers, target = request.headers, request.url.path
        if request.url.query:
            target += f"?{request.url.query}"
        length, range_ = headers.get("content-length", ""), headers.get("range", "")
        if not secret.allows(headers.get("authorization", ""), request.method, target, length, range_, int(now_s())):
            return _refuse(401, "the request is not signed with this cluster's secret, or a clock is wrong")
        if not _BLOB.fullmatch(request.path_params["blob"]):
            return _refuse(404, "a blob's id is 32 hexadecimal digits")
        name = bytes.fromhex(request.path_params["blob"])
        return await (_put(node, name, request) if request.method == "PUT" else _get(node, name, request))

    return Starlette(routes=[Route("/blobs/{blob}", blob, methods=["PUT", "GET"])])


async def _put(node: DataNode, blob: bytes, request: Request) -> Response:
    text = request.headers.get("content-length", "")
    if not re.fullmatch(r"\d{1,15}", text):
        return _refuse(411, "a blob is sent with its length")
    try:
        writer = await node.create(blob, int(text))
    except BlobExists as error:
        return _refuse(409, str(error))
    except OSError as error:
        return _refuse(507, f"the disk cannot be written: {error.strerror}")
    try:
        async for chunk in request.stream():
            await writer.write(chunk)
        await writer.commit()
    except BaseException as error:
        await writer.abort()
        if isinstance(error, ClientDisconnect):
            return Response(status_code=400)  # nobody reads it
        if isinstance(error, OSError):
            return _refuse(507, f"the disk cannot be written: {error.strerror}")
        raise
    return Response(status_code=201, headers={CRC32C: f"{writer.crc32c:08x}"})


async def _get(node: DataNode, blob: bytes, request: Request) -> Response:
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    position = request.query_params.get("position", "-1")
    if match is None or int(match[2]) < int(match[1]) or not re.fullmatch(r"-1|\d{1,18}", position):
        return _refuse(416, "ask for bytes=first-last, and for a position that is a number")
    start, size = int(match[1]), int(match[2]) - int(match[1]) + 1
    if size > READ_BYTES_MAX:
        return _refuse(416, f"ask for at most {READ_BYTES_MAX} bytes at once")
    try:
        async with asyncio.timeout(BEHIND_S_MAX):
            data = await node.read(blob, start, size, int(position))
    except BlobUnavailable as error:
        return _refuse(404, str(error))
    except TimeoutError:
        return _refuse(503, "this node has not consumed `writes` that far yet")
    except ValueError as error:
        return _refuse(416, str(error))
    return Response(data, 206, {CRC32C: f"{crc32c(data):08x}"}, "application/octet-stream")


def _refuse(status: int, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status)
