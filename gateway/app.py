"""The ASGI application: authenticates, routes, answers; every failure becomes the S3 error that `errors` names."""

import logging
from collections.abc import AsyncIterator
from time import perf_counter

from starlette.types import Receive, Scope, Send

from datanode.node import BlobUnavailable
from gateway import router
from gateway.authn import authenticate, is_signed
from gateway.body import ClientGone
from gateway.context import Gateway, Response
from gateway.error_document import HOST_ID, error_response
from gateway.errors import S3Error, as_s3_error
from gateway.operations import CREATE_BUCKET, Operation
from gateway.request import Request
from gateway.tally import ACCESS, GONE, IS_GONE
from topics import request_id

_HOST_HEADER = (b"x-amz-id-2", HOST_ID.encode())
log = logging.getLogger(__name__)
log_access = logging.getLogger(ACCESS)


class S3App:
    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._tally = gateway.tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = perf_counter()
        request = Request(scope, receive)
        request_id.current.set(request.id)
        try:
            await self._answer(request, scope, send, began_s)
        finally:
            self._gateway.open_reads.end(request.read)

    async def _answer(self, request: Request, scope: Scope, send: Send, began_s: float) -> None:
        name = ""
        try:
            request.parse(scope, self._gateway.domain)
            operation = router.route(request)
            name = operation.name
            if operation.is_signed:
                await self._authenticate(request, operation)
            response = await operation.handler(self._gateway, request)
        except ClientGone:
            response = None
        except Exception as error:  # noqa: BLE001 - the one place where failures become answers
            response = _failed(error, request)
        status = response.status if response else GONE
        sent = await _send(response, send, request, scope) if response else 0
        seconds = perf_counter() - began_s
        self._tally.add(name, status, seconds, request.received_bytes, sent)
        if self._gateway.logs_access:
            _log_access(scope, request, name, status, seconds, sent)

    async def _authenticate(self, request: Request, operation: Operation) -> None:
        """Anonymous requests get AccessDenied, or NoSuchBucket where the bucket does not exist, as in S3."""
        if not is_signed(request) and request.bucket and operation is not CREATE_BUCKET:
            await self._gateway.existing(request.bucket)
        gateway = self._gateway
        v2_domain = gateway.domain if gateway.signature_v2 else None
        authenticate(request, gateway.credentials, region=gateway.region, v2_domain=v2_domain)


def _failed(error: Exception, request: Request) -> Response:
    failure = as_s3_error(error)
    if failure.status >= 500 and failure.code != "NotImplemented":
        _log_failure(failure, error)
    return error_response(failure, request)


def _log_failure(failure: S3Error, error: Exception) -> None:
    """A bug with its traceback; what is known to be out of order in a line."""
    is_known = failure.code != "InternalError" or isinstance(error, BlobUnavailable | S3Error)
    level = logging.ERROR if failure.code == "InternalError" else logging.WARNING
    why = failure.message if error is failure else str(error) or type(error).__name__
    log.log(level, "answered %d %s: %s", failure.status, failure.code, why, exc_info=None if is_known else error)


def _log_access(scope: Scope, request: Request, operation: str, status: int, seconds: float, sent: int) -> None:
    """Without the query, which may be a signature."""
    line = {
        "operation": operation,
        "method": request.method,
        "path": request.path,
        "status": status,
        "seconds": round(seconds, 6),
        "received_bytes": request.received_bytes,
        "sent_bytes": sent,
        "user": request.principal,
        "peer": (scope.get("client") or ("",))[0],
    }
    log_access.info("request", extra=line)


async def _send(response: Response, send: Send, request: Request, scope: Scope) -> int:
    """Returns how many bytes of body there were."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    headers += ((b"x-amz-request-id", request.id.encode()), _HOST_HEADER)
    if not request.is_drained:
        headers.append((b"connection", b"close"))
    body = response.body
    has_length = not body and "content-length" in dict(response.headers)  # of HEAD
    if isinstance(body, bytes) and not has_length and response.status not in (204, 304):
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if isinstance(body, bytes):
        await send({"type": "http.response.body", "body": body})
        return len(body)
    return await _stream(body, send, scope)


async def _stream(body: AsyncIterator[bytes], send: Send, scope: Scope) -> int:
    """Ends where the client is gone, too: a server tells nobody who sends."""
    sent, is_gone = 0, scope.get("state", {}).get(IS_GONE, bool)
    try:
        async for chunk in body:
            if is_gone():
                return sent
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            sent += len(chunk)
    except Exception as error:
        log.error("an answer broke off after %d bytes: %s", sent, error)
        raise
    await send({"type": "http.response.body", "body": b""})
    return sent
