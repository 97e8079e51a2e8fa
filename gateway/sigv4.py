"""AWS Signature Version 4: by header, by presigned URL, and of the chunks of a streamed body.

Source: "Authenticating Requests (AWS Signature Version 4)" of the S3 API. Signatures are compared in constant time; a
request may be at most 15 minutes off our clock; the host and every x-amz-* header must be signed.
"""

import functools
import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol
from urllib.parse import quote

from gateway.claim import ALGORITHM, Claim, from_header, from_query
from gateway.errors import S3Error, invalid_argument
from gateway.request import Request

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
_QUERY = ("X-Amz-Signature", "X-Amz-Algorithm")
_RUN_OF_SPACES = re.compile(" {2,}")
_STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_PAYLOAD = re.compile(
    rf"[0-9a-f]{{64}}|{UNSIGNED}|STREAMING-{UNSIGNED}-TRAILER|"
    r"STREAMING-AWS4-(?:HMAC-SHA256|ECDSA-P256-SHA256)-PAYLOAD(?:-TRAILER)?"
)


class Secrets(Protocol):
    def secret(self, access_key: str) -> str | None: ...


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


def authenticate(request: Request, secrets: Secrets, now_s: float, region: str | None) -> str:
    """The access key; sets `request.signing`. Raises the S3 error of what is wrong.

    `region`: the one that a signature must be for; None where any will do.
    """
    if is_presigned(request):
        claim = from_query(request, now_s, region)
        payload_hash = request.headers.get("x-amz-content-sha256", UNSIGNED)
    else:
        claim = from_header(request, now_s, region)
        payload_hash = request.headers.get("x-amz-content-sha256", "")
        if not payload_hash:
            raise S3Error("MissingSecurityHeader", "Missing required header for this request: x-amz-content-sha256")
    if not _PAYLOAD.fullmatch(payload_hash):
        raise payload_hash_refused(payload_hash)
    signed = {*claim.signed, *request.hoisted} if request.hoisted else claim.signed  # all of a query is signed
    unsigned = [n for n in request.headers if (n == "host" or n.startswith("x-amz-")) and n not in signed]
    if unsigned:
        message = "There were headers present in the request which were not signed"
        raise S3Error("AccessDenied", message, (), HeadersNotSigned=", ".join(unsigned))
    derive = signing_key if region is None else _kept_key
    key = derive(secret_of(secrets, claim.access_key), claim.scope)
    given = claim.signature.encode()
    for form in _forms(request, claim, payload_hash):
        if hmac.compare_digest(sign(key, claim, form).encode(), given):
            request.signing = Signing(key, claim.date, claim.scope, claim.signature)
            return claim.access_key
    raise _does_not_match(request, claim, payload_hash)


def secret_of(secrets: Secrets, access_key: str) -> str:
    """Raises InvalidAccessKeyId."""
    secret = secrets.secret(access_key)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=access_key)
    return secret


def signing_key(secret: str, scope: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


# The derivation is most of a signature's cost, and the same all day. Only for scopes that clients cannot choose: theirs
# are checked before, the region against ours, the date against the clock.
_kept_key = functools.lru_cache(maxsize=1024)(signing_key)


def payload_hash_refused(given: str) -> S3Error:
    message = (
        f"x-amz-content-sha256 must be {UNSIGNED}, STREAMING-{UNSIGNED}-TRAILER, {_STREAMING}, {_STREAMING}-TRAILER, "
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER or a valid sha256 "
        "value."
    )
    return invalid_argument("x-amz-content-sha256", given, message)


def _does_not_match(request: Request, claim: Claim, payload_hash: str) -> S3Error:
    """With what was compared, so that who signs can find the difference; never with our signature."""
    canonical = next(_forms(request, claim, payload_hash))
    text = string_to_sign(claim, canonical)
    return S3Error(
        "SignatureDoesNotMatch",
        AWSAccessKeyId=claim.access_key,
        StringToSign=text,
        SignatureProvided=claim.signature,
        StringToSignBytes=text.encode().hex(" "),
        CanonicalRequest=canonical.decode(errors="replace"),
        CanonicalRequestBytes=canonical.hex(" "),
    )


def _forms(request: Request, claim: Claim, payload_hash: str) -> Iterator[bytes]:
    """The canonical requests of all kinds of signers; the usual first, others only where they differ from it.

    Inside of a header's value some make one space of all white space, some of spaces only (the S3 API's text); and what
    is not ASCII some sign as UTF-8, some as the Latin-1 that they send.
    """
    usual = canonical_request(request, claim.signed, payload_hash)
    yield usual.encode()
    spaced = canonical_request(request, claim.signed, payload_hash, _spaces)
    if spaced != usual:
        yield spaced.encode()
    for text in dict.fromkeys((usual, spaced)):
        if not text.isascii() and max(text) <= "\xff":
            yield text.encode("latin-1")


def _spaces(value: str) -> str:
    return _RUN_OF_SPACES.sub(" ", value)


def canonical_request(
    request: Request, signed: list[str], payload_hash: str, collapse: Callable[[str], str] | None = None
) -> str:
    # by name, not by name=value: "key" comes before "key-marker", though "=" comes after "-"
    fields = [*request.query.items(), *request.repeated] if request.repeated else request.query.items()
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in fields)
    query = "&".join(f"{name}={value}" for name, value in pairs if name != "X-Amz-Signature")
    value = request.headers.get
    if collapse is None:  # all white space, as most signers do
        headers = "".join([f"{name}:{' '.join(value(name, '').split())}\n" for name in signed])
    else:
        headers = "".join([f"{name}:{collapse(value(name, ''))}\n" for name in signed])
    path = quote(request.path, safe="/-_.~")
    return f"{request.method}\n{path}\n{query}\n{headers}\n{';'.join(signed)}\n{payload_hash}"


def sign(key: bytes, claim: Claim, canonical: bytes) -> str:
    return hmac.digest(key, string_to_sign(claim, canonical).encode(), "sha256").hex()


def string_to_sign(claim: Claim, canonical: bytes) -> str:
    return f"{ALGORITHM}\n{claim.date}\n{claim.scope}\n{hashlib.sha256(canonical).hexdigest()}"
