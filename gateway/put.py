"""PutObject: the payload first, then its command."""

from gateway import attributes, payload
from gateway.body import Body
from gateway.context import EXPECTED_OWNER, Gateway, Response
from gateway.errors import S3Error
from gateway.request import Request
from processors.reads import Object
from topics import commands
from topics.objects import Preconditions

PUT_BYTES_MAX = 5 << 30  # S3: one PUT


async def put_object(gateway: Gateway, request: Request) -> Response:
    kept = attributes.from_headers(request.headers, request.in_utf8)
    body = Body(request)
    if body.length > PUT_BYTES_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=body.length, MaxSizeAllowed=PUT_BYTES_MAX)
    wanted = await check_target(gateway, request)
    stored = await payload.store(gateway.blobs, body, request.partition)
    command = commands.PutObject(
        request.bucket, request.key, stored.size, stored.etag, stored.extents, stored.checksum, kept, wanted
    )
    reply = await gateway.commander.submit_payload(request.id, request.principal, command)
    return Response(200, [("etag", f'"{reply.etag}"'), *attributes.checksum_headers(stored.checksum)])


async def check_target(gateway: Gateway, request: Request) -> Preconditions:
    """What must hold when it is written. To see it before spares the client the upload; it is decided for good in the log.

    Raises the errors of `Gateway.bucket`, NoSuchKey or PreconditionFailed.
    """
    wanted = attributes.preconditions(request)
    if wanted == Preconditions():
        await gateway.bucket(request)
    else:
        _check(await gateway.owned_object(request, request.bucket, request.key, EXPECTED_OWNER), wanted)
    return wanted


def _check(existing: Object | None, wanted: Preconditions) -> None:
    if wanted.if_match:
        if existing is None:
            raise S3Error("NoSuchKey")
        if wanted.if_match not in ("*", existing.etag):
            raise S3Error("PreconditionFailed", Condition="If-Match")
    if wanted.if_none_match and existing is not None and wanted.if_none_match in ("*", existing.etag):
        raise S3Error("PreconditionFailed", Condition="If-None-Match")
