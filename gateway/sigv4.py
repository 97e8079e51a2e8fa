"""AWS Signature Version 4: by header, by presigned URL, and of the chunks of a streamed body.

Source: "Authenticating Requests (AWS Signature Version 4)" of the S3 API. Signatures are compared in constant time; a
request may be at most 15 minutes off our clock; the host and every x-amz-* header must be signed.
"""

import calendar
import functools
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol
from urllib.parse import quote

from gateway.errors import S3Error
from gateway.request import Request, http_date

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_S_MAX = 15 * 60
EXPIRES_S_MAX = 7 * 24 * 3600
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
_DATES_KEPT = 64  # parsed: clients that send many requests name the same second in all of them
_QUERY = ("X-Amz-Signature", "X-Amz-Algorithm")
_RUN_OF_SPACES = re.compile(" {2,}")
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_HEADER = re.compile(r"Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})")


class Secrets(Protocol):
    def secret(self, access_key: str) -> str | None: ...


class Claim(NamedTuple):
    """What a request says of its own signature."""

    access_key: str
    scope: str  # date/region/service/aws4_request
    signed: list[str]
    signature: str
    date: str


class Signing(NamedTuple):
    """What the chunks of the body are signed with."""

    key: bytes
    date: str
    scope: str
    seed: str

    def chunk(self, previous: str, digest: str) -> str:
        """`digest`: the chunk's SHA-256."""
        return self._sign(f"{ALGORITHM}-PAYLOAD", previous, f"{EMPTY_SHA256}\n{digest}")

    def trailer(self, previous: str, lines: bytes) -> str:
        return self._sign(f"{ALGORITHM}-TRAILER", previous, hashlib.sha256(lines).hexdigest())

    def _sign(self, kind: str, previous: str, digests: str) -> str:
        text = f"{kind}\n{self.date}\n{self.scope}\n{previous}\n{digests}"
        return hmac.digest(self.key, text.encode(), "sha256").hex()


def is_presigned(request: Request) -> bool:
    return not request.query.keys().isdisjoint(_QUERY)


def authenticate(request: Request, secrets: Secrets, now_s: float) -> str:
    """The access key; sets `request.signing`. Raises the S3 error of what is wrong."""
    if is_presigned(request):
        claim = _from_query(request, now_s)
        payload_hash = request.headers.get("x-amz-content-sha256", UNSIGNED)
    else:
        claim = _from_header(request, now_s)
        payload_hash = request.headers.get("x-amz-content-sha256", "")
        if not payload_hash:
            raise S3Error("MissingSecurityHeader", "Missing required header for this request: x-amz-content-sha256")
    signed = {*claim.signed, *request.hoisted}  # all of a query is signed
    unsigned = [n for n in request.headers if (n == "host" or n.startswith("x-amz-")) and n not in signed]
    if unsigned:
        raise S3Error("AccessDenied", f"There were headers present in the request which were not signed: {unsigned[0]}")
    key = signing_key(secret_of(secrets, claim.access_key), claim.scope)
    given = claim.signature.encode()
    if not any(
        hmac.compare_digest(sign(key, claim, each).encode(), given) for each in _forms(request, claim, payload_hash)
    ):
        raise S3Error("SignatureDoesNotMatch")
    request.signing = Signing(key, claim.date, claim.scope, claim.signature)
    return claim.access_key


def secret_of(secrets: Secrets, access_key: str) -> str:
    """Raises InvalidAccessKeyId."""
    secret = secrets.secret(access_key)
    if secret is None:
        raise S3Error("InvalidAccessKeyId")
    return secret


@functools.lru_cache(maxsize=1024)  # the derivation is most of a signature's cost, and the same all day
def signing_key(secret: str, scope: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _forms(request: Request, claim: Claim, payload_hash: str) -> Iterator[bytes]:
    """The canonical requests of all kinds of signers; the usual first, others only where they differ from it.

    Inside of a header's value some make one space of all white space, some of spaces only (the S3 API's text); and what
    is not ASCII some sign as UTF-8, some as the Latin-1 that they send.
    """
    seen: set[bytes] = set()
    for collapse in (_white_space, _spaces):
        text = canonical_request(request, claim.signed, payload_hash, collapse)
        forms = [text.encode()]
        if not text.isascii() and max(text) <= "\xff":
            forms.append(text.encode("latin-1"))
        for form in forms:
            if form not in seen:
                seen.add(form)
                yield form


def _white_space(value: str) -> str:
    return " ".join(value.split())


def _spaces(value: str) -> str:
    return _RUN_OF_SPACES.sub(" ", value)


def canonical_request(
    request: Request, signed: list[str], payload_hash: str, collapse: Callable[[str], str] = _white_space
) -> str:
    # by name, not by name=value: "key" comes before "key-marker", though "=" comes after "-"
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in request.query.items())
    query = "&".join(f"{name}={value}" for name, value in pairs if name != "X-Amz-Signature")
    headers = "".join(f"{name}:{collapse(request.headers.get(name, ''))}\n" for name in signed)
    path = quote(request.path, safe="/-_.~")
    return f"{request.method}\n{path}\n{query}\n{headers}\n{';'.join(signed)}\n{payload_hash}"


def sign(key: bytes, claim: Claim, canonical: bytes) -> str:
    digest = hashlib.sha256(canonical).hexdigest()
    text = f"{ALGORITHM}\n{claim.date}\n{claim.scope}\n{digest}"
    return hmac.digest(key, text.encode(), "sha256").hex()


def _from_header(request: Request, now: float) -> Claim:
    algorithm, _, rest = request.headers["authorization"].partition(" ")
    match = _HEADER.fullmatch(rest.strip())
    if algorithm != ALGORITHM or match is None:
        raise S3Error("AuthorizationHeaderMalformed")
    date = request.headers.get("x-amz-date") or _from_http_date(request.headers.get("date", ""))
    if not _DATE.fullmatch(date):
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    if abs(_seconds(date) - now) > SKEW_S_MAX:
        raise S3Error("RequestTimeTooSkewed")
    return _claim(match[1], match[2], match[3], date, "AuthorizationHeaderMalformed")


def _from_query(request: Request, now: float) -> Claim:
    query = request.query
    wrong = "AuthorizationQueryParametersError"
    date, expires = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
    if query.get("X-Amz-Algorithm") != ALGORITHM or not _DATE.fullmatch(date):
        raise S3Error(wrong)
    if not re.fullmatch(r"[0-9]{1,7}", expires) or not 1 <= int(expires) <= EXPIRES_S_MAX:
        raise S3Error(wrong, "X-Amz-Expires must be between 1 second and a week")
    if _seconds(date) - now > SKEW_S_MAX:
        raise S3Error("AccessDenied", "Request is not yet valid")
    if _seconds(date) + int(expires) < now:
        raise S3Error("AccessDenied", "Request has expired")
    signature = query.get("X-Amz-Signature", "")
    return _claim(query.get("X-Amz-Credential", ""), query.get("X-Amz-SignedHeaders", ""), signature, date, wrong)


def _claim(credential: str, signed: str, signature: str, date: str, wrong: str) -> Claim:
    access_key, scope = scope_of(credential, date, wrong)
    return Claim(access_key, scope, signed.split(";"), signature, date)


def scope_of(credential: str, date: str, wrong: str) -> tuple[str, str]:
    """(access key, date/region/service/aws4_request). Raises the S3 error `wrong`."""
    access_key, _, scope = credential.partition("/")
    parts = scope.split("/")
    if len(parts) != 4 or parts[0] != date[:8] or parts[2:] != ["s3", "aws4_request"]:
        raise S3Error(wrong, "The credential scope must be <date>/<region>/s3/aws4_request, of the request's date.")
    return access_key, scope


def _from_http_date(text: str) -> str:
    """The Date header in the form that signatures use; empty where it is no date."""
    date = http_date(text)
    return f"{date:%Y%m%dT%H%M%SZ}" if date else ""


@functools.lru_cache(_DATES_KEPT)
def _seconds(date: str) -> float:
    try:
        return calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise S3Error("AccessDenied", "The date is not valid.") from None
