"""AWS Signature Version 2, for clients that make nothing newer: presigned URLs (boto3 and `aws s3 presign` make them for an
endpoint of one's own in us-east-1), and the header Authorization of old SDKs.

Source: "Signing and Authenticating REST Requests" of the S3 API. Its text names neither the host nor all of the query. So
the host must be an address or the store's domain; all sub-resources of the model must be signed, not only those of its
time; and a URL lasts at most as long as one of version 4.
"""

import base64
import hmac
import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import quote

from gateway.claim import EXPIRES_S_MAX, SKEW_S_MAX
from gateway.errors import S3Error
from gateway.model import routes_of_s3, subresources
from gateway.request import Request, http_date
from gateway.sigv4 import Secrets, secret_of

_OVERRIDES = {name for route in routes_of_s3() for name in route.query if name.startswith("response-")}
_SIGNED = sorted({"versionId", *_OVERRIDES, *subresources()} - {"list-type"})  # which chooses a form, nothing else
_HEADER = re.compile(r"AWS ([^:\s]+):(\S+)")
_NO_HOST = (
    "Signature version 2 does not cover the host, and {host} is neither an address nor in the store's domain "
    "(BUCKETLOG_DOMAIN). Use AWS4-HMAC-SHA256."
)


def is_presigned(request: Request) -> bool:
    return "AWSAccessKeyId" in request.query and "Signature" in request.query


def authenticate(request: Request, secrets: Secrets, now_s: float, domain: str) -> str:
    """The access key. Raises AccessDenied, InvalidAccessKeyId, RequestTimeTooSkewed or SignatureDoesNotMatch."""
    query = request.query
    if is_presigned(request):
        access_key, signature, date = query["AWSAccessKeyId"], query["Signature"], _expires(query, now_s)
    else:
        match = _HEADER.fullmatch(request.headers["authorization"])
        if match is None:
            raise S3Error("InvalidArgument", "AWS authorization header is invalid. Expected AwsAccessKeyId:signature")
        access_key, signature, date = match[1], match[2], _date(request.headers, now_s)
    _check_host(request.headers.get("host", ""), domain)
    secret = secret_of(secrets, access_key).encode()
    for text in _texts(request, date):
        if hmac.compare_digest(base64.b64encode(hmac.digest(secret, text, "sha1")), signature.encode()):
            return access_key
    text = next(_texts(request, date))
    raise S3Error(
        "SignatureDoesNotMatch",
        AWSAccessKeyId=access_key,
        StringToSign=text.decode(errors="replace"),
        SignatureProvided=signature,
        StringToSignBytes=text.hex(" "),
    )


def _expires(query: dict[str, str], now_s: float) -> str:
    expires = query.get("Expires", "")
    if not re.fullmatch(r"[0-9]{1,12}", expires):
        raise S3Error(
            "AccessDenied", "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        )
    if int(expires) < now_s:
        raise S3Error("AccessDenied", "Request has expired")
    if int(expires) > now_s + EXPIRES_S_MAX:
        raise S3Error("AccessDenied", "Expires must be less than a week (in seconds) from now")
    return expires


def _date(headers: dict[str, str], now_s: float) -> str:
    """What the text has for a date: nothing where x-amz-date, which is signed as a header, stands in for it."""
    date = http_date(headers.get("x-amz-date", headers.get("date", "")))
    if date is None:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    if abs(date.timestamp() - now_s) > SKEW_S_MAX:
        raise S3Error("RequestTimeTooSkewed")
    return "" if "x-amz-date" in headers else headers["date"]


def _check_host(header: str, domain: str) -> None:
    host = re.sub(r":[0-9]*$", "", header).lower()
    if domain and (host == domain.lower() or host.endswith("." + domain.lower())):
        return
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        if host != "localhost":
            raise S3Error("AccessDenied", _NO_HOST.format(host=host or "none")) from None


def _texts(request: Request, date: str) -> Iterator[bytes]:
    """What may have been signed: the path as it was sent, or as most clients encode it; headers in UTF-8 or Latin-1."""
    headers, query = request.headers, request.query
    amz = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers) if name.startswith("x-amz-"))
    start = f"{request.method}\n{headers.get('content-md5', '')}\n{headers.get('content-type', '')}\n{date}\n{amz}"
    signed = "&".join(f"{name}={query[name]}" if query[name] else name for name in _SIGNED if name in query)
    path = quote(f"/{request.bucket}/{request.key}", safe="/-_.~") if request.bucket else "/"  # "/" after a bucket too
    sent = request.raw_path if not request.is_virtual_host else f"/{request.bucket}{request.raw_path}"
    for each in dict.fromkeys((path, sent)):
        text = f"{start}{each}{'?' if signed else ''}{signed}"
        yield text.encode()
        if not text.isascii() and max(text) <= "\xff":
            yield text.encode("latin-1")
