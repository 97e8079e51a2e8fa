"""The answer to a request that failed: the error document, with what names the failed part of the request.

Source: "Error Responses" of the S3 API.
"""

import base64
import secrets
from collections.abc import Callable

from gateway import xml
from gateway.context import XML, Response
from gateway.errors import S3Error
from gateway.request import Request

HOST_ID = base64.b64encode(secrets.token_bytes(48)).decode()  # of this process; S3's x-amz-id-2
_OF_REQUEST: dict[str, Callable[[Request], str]] = {
    "BucketName": lambda request: request.bucket,
    "Key": lambda request: request.key,
    "Method": lambda request: request.method,
    "ResourceType": lambda request: "OBJECT" if request.key else "BUCKET" if request.bucket else "SERVICE",
    "UploadId": lambda request: request.query.get("uploadId", ""),
    "URI": lambda request: request.path,
    "VersionId": lambda request: request.query.get("versionId", ""),
}


def error_response(failure: S3Error, request: Request) -> Response:
    """Without a document where HTTP has no body: 304, and all answers to HEAD."""
    if failure.status == 304 or request.method == "HEAD":
        return Response(failure.status, failure.headers)
    details = {name: _OF_REQUEST[name](request) for name in failure.of_request} | failure.details
    parts = [
        xml.text("Code", failure.code),
        xml.text("Message", failure.message),
        *(xml.text(name, value) for name, value in details.items()),
        xml.text("Resource", request.path),
        xml.text("RequestId", request.id),
        xml.text("HostId", HOST_ID),
    ]
    return Response(failure.status, [XML, *failure.headers], xml.plain_document("Error", parts))
