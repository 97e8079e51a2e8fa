"""A data node over HTTP, for gateways and its peers. Every request is signed with the cluster's secret.

    PUT /groups/{g}/blobs/{id}?partition=P&leads=0|1&quorum_ms=N
                                                       the payload, with Content-Length; 201 when it is durable, with its
                                                       crc32c and who has synced it. leads=1: the node forwards it, and
                                                       waits so long for a quorum
    GET /groups/{g}/blobs/{id}?position=N&crc32c=C     Range: bytes=a-b; 206 with verified bytes and their crc32c. With C,
                                                       that of the whole payload, no other bytes are given
    POST /groups/{g}/pieces?position=N                 for data nodes: bytes of many blobs, as msgpack. The body lists
                                                       them; the answer has for each its bytes, or why there are none,
                                                       and a crc32c of all of it
    GET /groups/{g}/blobs?after=ID&position=N          a page of what the node has of a group it holds, as msgpack

401 not signed as it must be, with this node's time, for which to sign it anew; 404 no such blob, or damaged bytes, which
are never sent; 409 the blob is there already, or arriving; 411 no length; 416 no such range; 503 behind, unreadable, or no
holder of the group: the blob may still come; 507 the disk cannot be written, or a quorum cannot, with the names of the
peers that did not take it. The bodies of refusals are one line of text.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable

import msgspec
from awscrt.checksums import crc32c
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from datanode.node import (
    PIECES_BYTES_MAX,
    PIECES_MAX,
    QUORUM_S,
    BlobRef,
    BlobUnavailable,
    DataNode,
    Piece,
    TooFewCopies,
    Writer,
)
from datanode.store import BlobExists
from topics import request_id
from topics.secret import ClusterSecret
from topics.spec import GROUPS

CRC32C = "x-bucketlog-crc32c"  # of the bytes sent, 8 hexadecimal digits
HOLDERS = "x-bucketlog-holders"  # names of the nodes that have synced a blob, by commas
WITHOUT = "x-bucketlog-without"  # names of the peers that did not take a blob, by commas
TIME = "x-bucketlog-time"  # Unix seconds at a node that refuses a signature: its clock may be the wrong one
IDLE_S = 60.0  # for the next bytes of a payload: who sends it may be gone with its machine, which no connection tells
READ_BYTES_MAX = 8 << 20  # a node holds this much in memory for each request
_BLOB = re.compile(r"[0-9a-f]{32}")
_RANGE = re.compile(r"bytes=(\d{1,15})-(\d{1,15})")
_POSITION = re.compile(r"-1|\d{1,18}")
ASKED_BYTES_MAX = 64 << 10  # a list of pieces
_page = msgspec.msgpack.Encoder()
_wanted = msgspec.msgpack.Decoder(list[Piece])
_WARNINGS = (401, 507)  # what an operator must look at; the others happen
log_ = logging.getLogger(__name__)


def create_node_app(node: DataNode, secret: ClusterSecret, now_s: Callable[[], float] = time.time) -> Starlette:
    def refused(request: Request) -> Response | None:
        headers, target = request.headers, request.url.path
        if request.url.query:
            target += f"?{request.url.query}"
        length, range_ = headers.get("content-length", ""), headers.get("range", "")
        if not secret.allows(headers.get("authorization", ""), request.method, target, length, range_, int(now_s())):
            refusal = _refuse(401, "the request is not signed with this cluster's secret, or a clock is wrong")
            refusal.headers[TIME] = f"{int(now_s())}"
            return refusal
        request_id.adopt(headers.get(request_id.HEADER))
        if not 0 <= request.path_params["group"] < GROUPS:
            return _refuse(404, f"groups are 0 to {GROUPS - 1}")
        return None

    async def blob(request: Request) -> Response:
        if (refusal := refused(request)) is not None:
            return refusal
        if not _BLOB.fullmatch(request.path_params["blob"]):
            return _refuse(404, "a blob's id is 32 hexadecimal digits")
        partition, crc = request.query_params.get("partition", "255"), request.query_params.get("crc32c", "")
        if not re.fullmatch(r"\d{1,3}", partition) or int(partition) > 255:
            return _refuse(416, "partition is a number up to 255")
        if not re.fullmatch(r"([0-9a-f]{8})?", crc):
            return _refuse(416, "crc32c is 8 hexadecimal digits")
        group, name = request.path_params["group"], bytes.fromhex(request.path_params["blob"])
        ref = BlobRef(group, name, int(partition), int(crc, 16) if crc else None)
        return await (_put(node, ref, request) if request.method == "PUT" else _get(node, ref, request))

    async def pieces(request: Request) -> Response:
        if (refusal := refused(request)) is not None:
            return refusal
        return await _give(node, request.path_params["group"], request)

    async def blobs(request: Request) -> Response:
        if (refusal := refused(request)) is not None:
            return refusal
        return await _list(node, request.path_params["group"], request)

    return Starlette(
        routes=[
            Route("/groups/{group:int}/blobs/{blob}", _told(blob), methods=["PUT", "GET"]),
            Route("/groups/{group:int}/pieces", _told(pieces), methods=["POST"]),
            Route("/groups/{group:int}/blobs", _told(blobs)),
        ]
    )


def _told(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """With a log line for each refusal."""

    async def answer(request: Request) -> Response:
        response = await endpoint(request)
        if (status := response.status_code) >= 400:
            level = logging.WARNING if status in _WARNINGS else logging.INFO
            why = bytes(response.body).decode().strip()
            log_.log(level, "%s %s is answered %d: %s", request.method, request.url.path, status, why)
        return response

    return answer


async def _put(node: DataNode, ref: BlobRef, request: Request) -> Response:
    text = request.headers.get("content-length", "")
    if not re.fullmatch(r"\d{1,15}", text):
        return _refuse(411, "a blob is sent with its length")
    within = request.query_params.get("quorum_ms", f"{QUORUM_S * 1000:.0f}")
    if not re.fullmatch(r"\d{1,6}", within):
        return _refuse(416, "quorum_ms is a number of milliseconds up to 999999")
    quorum_s = int(within) / 1000
    try:
        writer = await node.create(ref, int(text), leads=request.query_params.get("leads") == "1", quorum_s=quorum_s)
    except BlobExists as error:
        return _refuse(409, str(error))
    except OSError as error:
        return _unwritten(error)
    try:
        return await _receive(writer, request)
    except BaseException as error:
        await writer.abort()
        if isinstance(error, ClientDisconnect):
            return _refuse(400, "the sender broke off")  # nobody reads it
        if isinstance(error, OSError):
            return _unwritten(error)
        raise


async def _receive(writer: Writer, request: Request) -> Response:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(IDLE_S) as idle:
        async for chunk in request.stream():
            await writer.write(chunk)
            idle.reschedule(loop.time() + IDLE_S)
    holders = await writer.commit()
    return Response(status_code=201, headers={CRC32C: f"{writer.crc32c:08x}", HOLDERS: ",".join(holders)})


async def _get(node: DataNode, ref: BlobRef, request: Request) -> Response:
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    position = request.query_params.get("position", "-1")
    if match is None or int(match[2]) < int(match[1]) or not _POSITION.fullmatch(position):
        return _refuse(416, "ask for bytes=first-last, and for a position that is a number")
    start, size = int(match[1]), int(match[2]) - int(match[1]) + 1
    if size > READ_BYTES_MAX:
        return _refuse(416, f"ask for at most {READ_BYTES_MAX} bytes at once")
    try:
        data = await node.read(ref, start, size, int(position))
    except BlobUnavailable as error:
        return _refuse(404, str(error))
    except ValueError as error:
        return _refuse(416, str(error))
    except OSError as error:
        return _refuse(503, _why(error))
    return Response(data, 206, {CRC32C: f"{crc32c(data):08x}"}, "application/octet-stream")


class Given(msgspec.Struct, frozen=True, array_like=True):
    """The answer to one `Piece`."""

    data: bytes | None
    why: str = ""  # there is none
    may_come: bool = False  # `OSError`, and not `BlobUnavailable`


async def _give(node: DataNode, group: int, request: Request) -> Response:
    text, position = request.headers.get("content-length", ""), request.query_params.get("position", "-1")
    if not re.fullmatch(r"\d{1,6}", text) or int(text) > ASKED_BYTES_MAX or not _POSITION.fullmatch(position):
        return _refuse(416, f"send at most {ASKED_BYTES_MAX} bytes with their length, and a position that is a number")
    try:
        wanted = _wanted.decode(await request.body())
    except (msgspec.DecodeError, ClientDisconnect):
        return _refuse(416, "send a list of pieces as msgpack")
    if len(wanted) > PIECES_MAX or sum(each.size for each in wanted) > PIECES_BYTES_MAX:
        return _refuse(416, f"ask for at most {PIECES_MAX} pieces and {PIECES_BYTES_MAX} bytes at once")
    try:
        found = await node.pieces(group, wanted, int(position))
    except OSError as error:
        return _refuse(503, _why(error))
    data = _page.encode([_given(each) for each in found])
    return Response(data, headers={CRC32C: f"{crc32c(data):08x}"}, media_type="application/msgpack")


def _given(found: bytes | Exception) -> Given:
    if isinstance(found, bytes):
        return Given(found)
    return Given(None, _why(found) if isinstance(found, OSError) else str(found), isinstance(found, OSError))


async def _list(node: DataNode, group: int, request: Request) -> Response:
    after, position = request.query_params.get("after", ""), request.query_params.get("position", "0")
    if (after and not _BLOB.fullmatch(after)) or not _POSITION.fullmatch(position):
        return _refuse(416, "ask for after=id and position=number")
    try:
        page = await node.blobs(group, bytes.fromhex(after), int(position))
    except OSError as error:
        return _refuse(503, _why(error))
    return Response(_page.encode(page), media_type="application/msgpack")


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "this node has not consumed `writes` that far yet, or the sender fell silent"
    return error.strerror or str(error)


def _unwritten(error: OSError) -> Response:
    refusal = _refuse(507, _why(error))
    if isinstance(error, TooFewCopies) and error.without:
        refusal.headers[WITHOUT] = ",".join(error.without)
    return refusal


def _refuse(status: int, why: str) -> Response:
    return PlainTextResponse(f"{why}\n", status)
