"""A browser's question before it asks something of another origin (S3 API: OPTIONS object): nobody signs it.

No bucket has a CORS configuration yet, so no origin is let in, and no answer ever has an Access-Control header.
"""

from gateway.context import Gateway, Response
from gateway.errors import S3Error
from gateway.request import Request

_METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")  # that a configuration can name


async def preflight(gateway: Gateway, request: Request) -> Response:
    if not request.headers.get("origin"):
        raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
    method = request.headers.get("access-control-request-method")
    if method not in _METHODS:
        raise S3Error("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}")
    await gateway.existing(request.bucket)
    raise S3Error("AccessForbidden", Method=method, ResourceType="OBJECT" if request.key else "BUCKET")
