"""What an operator asks of a store or a gateway over HTTP, below /-/, signed as S3 requests with the root key;
what changes something in a header only, for a presigned URL can be passed on and is good for up to seven days.

    GET  /-/events             the events as they come: `bucketlog.events`
    GET  /-/status             data nodes, groups, partitions: `bucketlog.status`
    POST /-/nodes/NAME/ACTION  drain, stay, remove: `bucketlog.nodes`
    POST /-/cluster/ACTION     pause, resume: the same

"-" can be no bucket, so nothing of S3 is hidden by these; but a key may begin so where the bucket is in the host's name.
Refusals are JSON: {"error": code, "message": text}.
"""

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bucketlog.credentials import ROOT_USER
from bucketlog.health import HEALTH, READY
from gateway.authn import Credentials, authenticate
from gateway.errors import S3Error, as_s3_error
from gateway.request import Request

PREFIX = "/-/"
STATUSES = {"NoSuchNode": 404, "NodeHoldsData": 409}  # of what is refused here, and is no error of S3
Answer = Callable[[HttpRequest, Request], Awaitable[Response]]


def create_admin_app(inner: ASGIApp, routes: Sequence[Route], domain: str) -> ASGIApp:
    """`domain`: for virtual-host style addresses, as the gateway has it."""
    own, domain = Starlette(routes=routes), domain.lower()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        is_health = path in (HEALTH, READY) and scope.get("method") in ("GET", "HEAD")
        is_own = (is_health or path.startswith(PREFIX)) and not _names_a_bucket(scope, domain)
        await (own if is_own else inner)(scope, receive, send)

    return app


def signed(path: str, answer: Answer, credentials: Credentials, method: str = "GET") -> Route:
    """What only the root user may ask."""

    async def endpoint(http: HttpRequest) -> Response:
        try:
            request = Request(http.scope, http.receive).parse(http.scope, "")
            if method != "GET" and "authorization" not in request.headers:
                raise S3Error("AccessDenied", "What changes something must be signed in the header Authorization.")
            authenticate(request, credentials)
            if request.principal != ROOT_USER:
                raise S3Error("AccessDenied")
            return await answer(http, request)
        except Exception as error:  # noqa: BLE001 - becomes an answer, as in the S3 application
            failure = as_s3_error(error)
            status = STATUSES.get(failure.code, failure.status)
            return json_response({"error": failure.code, "message": failure.message}, status)

    return Route(path, endpoint, methods=[method])


def json_response(said: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(said) + b"\n", status, media_type="application/json")


def _names_a_bucket(scope: Scope, domain: str) -> bool:
    if not domain:
        return False
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")
    return host.partition(b":")[0].lower().endswith(b"." + domain.encode())
