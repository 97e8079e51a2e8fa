"""Who asks: finds the one signature that a request carries, and has it checked.

| | in the header Authorization | in the query (a presigned URL) |
|---|---|---|
| version 4 | AWS4-HMAC-SHA256 … | X-Amz-Algorithm, X-Amz-Signature, … |
| version 2 | AWS key:signature | AWSAccessKeyId, Signature, Expires |
"""

import time
from typing import Protocol

from gateway import sigv2, sigv4
from gateway.errors import S3Error
from gateway.request import Request


class Credentials(Protocol):
    """Who holds an access key. Implementations never show the secret in a repr."""

    def secret(self, access_key: str) -> str | None: ...

    def user(self, access_key: str) -> str:
        """The canonical user id of the key's owner."""
        ...


def is_signed(request: Request) -> bool:
    """Whether the request carries credentials; `authenticate` verifies them."""
    return bool(request.headers.get("authorization")) or sigv4.is_presigned(request) or sigv2.is_presigned(request)


def authenticate(
    request: Request,
    credentials: Credentials,
    now_s: float | None = None,
    *,
    region: str | None = None,
    v2_domain: str | None = None,
) -> None:
    """Set `request.principal` and `request.signing`, or raise the S3 error of what is wrong.

    `region`: the one that signatures of version 4 must be for; None where any will do.
    `v2_domain`: the store's domain, for signatures of version 2; None where these are not accepted.
    """
    now_s = time.time() if now_s is None else now_s
    header = request.headers.get("authorization", "")
    in_header, in_query, in_query_v2 = bool(header), False, False
    if request.query:
        in_query, in_query_v2 = sigv4.is_presigned(request), sigv2.is_presigned(request)
    if in_header + in_query + in_query_v2 > 1:
        raise S3Error(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter "
            "or the Authorization header should be specified",
        )
    if in_query_v2 or header.startswith("AWS "):
        if v2_domain is None:
            raise version_2_refused()
        access_key = sigv2.authenticate(request, credentials, now_s, v2_domain)
    elif in_header or in_query:
        access_key = sigv4.authenticate(request, credentials, now_s, region)
    else:
        raise S3Error("AccessDenied")
    if "x-amz-security-token" in request.headers:  # no key is a temporary one yet
        raise S3Error("InvalidToken")
    request.principal = credentials.user(access_key)


def version_2_refused() -> S3Error:
    message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
    return S3Error("InvalidRequest", message)
