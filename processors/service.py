"""The read service of a metadata owner over HTTP: GET /partitions/{number}/{operation}?args=…, msgpack in URL-safe base64;
and GET /decided: how far it is with the commands of each partition that it owns.

Every request is signed with the cluster's secret. 421 tells that this process does not hold the partition (any more): the
lease is looked at after the read, so that an answer is never older than the lease.
"""

import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from processors.machine.tables import Bucket, Part, Upload
from processors.reads import Found, Listing, UploadListing, ViewReads
from processors.view import Readable
from topics import request_id
from topics.secret import ClusterSecret

T = TypeVar("T")
DECIDED = "/decided"
NOT_HELD = 421  # Misdirected Request (RFC 9110 §15.5.20)
OPERATIONS: dict[str, tuple[Any, Any]] = {  # the operations of `Reads`: what they take, what they give
    "bucket": (tuple[str], Bucket | None),
    "buckets": (tuple[()], list[tuple[str, Bucket]]),
    "current": (tuple[str, str], Found),
    "listing": (tuple[str, Bucket, str, str, str, int], Listing),
    "upload": (tuple[str, Bucket, str, str], Upload | None),
    "uploads": (tuple[str, Bucket, str, str, tuple[str, str], int], UploadListing),
    "parts": (tuple[str, str, int, int], list[tuple[int, Part]]),
}


class NotHeld(Exception):
    """Another process may own the partition."""


async def while_held(is_held: Callable[[int], bool], partition: int, read: Callable[[], Awaitable[T]]) -> T:
    """What `read` gives, if the partition is still held after it. Raises `NotHeld`."""
    if not is_held(partition):
        raise NotHeld(f"partition {partition} is not held here")
    found = await read()
    if not is_held(partition):
        raise NotHeld(f"partition {partition} is not held here any more")
    return found


def encode_arguments(arguments: tuple[Any, ...]) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(arguments)).decode()


def create_read_service(
    views: Mapping[int, Readable],
    is_held: Callable[[int], bool],
    secret: ClusterSecret,
    now_s: Callable[[], float] = time.time,
    decided: Callable[[], Mapping[int, int]] = dict,
) -> Starlette:
    decoders = {name: msgspec.msgpack.Decoder(takes) for name, (takes, _) in OPERATIONS.items()}

    def refused(request: Request) -> Response | None:
        target, authorization = request.url.path, request.headers.get("authorization", "")
        if request.url.query:
            target += f"?{request.url.query}"
        if secret.allows(authorization, "GET", target, "", "", int(now_s())):
            request_id.adopt(request.headers.get(request_id.HEADER))
            return None
        return PlainTextResponse("the request is not signed with this cluster's secret, or a clock is wrong\n", 401)

    async def answer_decided(request: Request) -> Response:
        return refused(request) or _packed(dict(decided()))

    async def answer(request: Request) -> Response:
        if (refusal := refused(request)) is not None:
            return refusal
        partition, operation = request.path_params["partition"], request.path_params["operation"]
        if operation not in OPERATIONS:
            return PlainTextResponse(f"there is no operation {operation}\n", 404)
        if partition not in views:
            return PlainTextResponse(f"partition {partition} is not held here\n", NOT_HELD)
        try:
            arguments = decoders[operation].decode(base64.urlsafe_b64decode(request.query_params.get("args", "")))
        except (binascii.Error, ValueError) as error:
            return PlainTextResponse(f"arguments of {operation}: {error}\n", 400)
        read = getattr(ViewReads({partition: views[partition]}), operation)
        try:
            result = await while_held(is_held, partition, lambda: read(*arguments))
        except NotHeld as error:
            return PlainTextResponse(f"{error}\n", NOT_HELD)
        return _packed(result)

    return Starlette(routes=[Route("/partitions/{partition:int}/{operation}", answer), Route(DECIDED, answer_decided)])


def _packed(result: object) -> Response:
    return Response(msgspec.msgpack.encode(result), media_type="application/msgpack")
