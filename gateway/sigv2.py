"""Presigned URLs of AWS Signature Version 2, and nothing else of it: what `aws s3 presign` still makes for an endpoint of
one's own in us-east-1.

Source: "Signing and Authenticating REST Requests" of the S3 API, "Query String Request Authentication Alternative".
"""

import base64
import hmac
import re
from urllib.parse import quote

from gateway.errors import S3Error
from gateway.request import Request

_SIGNED = (
    "acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy",
    "requestPayment", "response-cache-control", "response-content-disposition", "response-content-encoding",
    "response-content-language", "response-content-type", "response-expires", "restore", "tagging", "torrent",
    "uploadId", "uploads", "versionId", "versioning", "versions", "website",
)  # fmt: skip


def is_presigned(request: Request) -> bool:
    return "AWSAccessKeyId" in request.query and "Signature" in request.query


def check(request: Request, secret: str, now_s: float) -> None:
    """Raises AccessDenied or SignatureDoesNotMatch."""
    expires = request.query.get("Expires", "")
    if not re.fullmatch(r"[0-9]{1,12}", expires):
        raise S3Error("AccessDenied", "Query-string authentication requires Signature, Expires and AWSAccessKeyId")
    if int(expires) < now_s:
        raise S3Error("AccessDenied", "Request has expired")
    expected = base64.b64encode(hmac.digest(secret.encode(), _text(request, expires).encode(), "sha1"))
    if not hmac.compare_digest(expected, request.query["Signature"].encode()):
        raise S3Error("SignatureDoesNotMatch")


def _text(request: Request, expires: str) -> str:
    headers = request.headers
    named = {name: headers.get(name, "") for name in ("content-md5", "content-type")}
    amz = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-amz-"))
    path = quote(f"/{request.bucket}/{request.key}", safe="/-_.~") if request.bucket else "/"  # "/" behind a bucket too
    signed = [
        f"{name}={request.query[name]}" if request.query[name] else name
        for name in sorted(_SIGNED)
        if name in request.query
    ]
    resource = path + ("?" + "&".join(signed) if signed else "")
    return f"{request.method}\n{named['content-md5']}\n{named['content-type']}\n{expires}\n{amz}{resource}"
