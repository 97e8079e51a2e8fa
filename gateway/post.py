"""PostObject: a browser's form upload (S3 API: "POST Object"). It carries its own authentication: a policy document that
somebody signed, and the fields that the policy allows. So this is the one operation that runs before the caller is known.
"""

import asyncio
import base64
import hmac
import re
import time
from collections.abc import AsyncIterator
from urllib.parse import urlencode, urlsplit

from gateway import attributes, authn, claim, payload, policy_document, sigv4, xml
from gateway.checksums import BodyDigests
from gateway.context import XML, Gateway, Response
from gateway.errors import S3Error, invalid_argument
from gateway.form import read_form
from gateway.policy_document import Policy
from gateway.request import Request, check_key
from topics import commands

UNSIGNED_S_MAX = 30.0  # from a form's head to its file: so long nobody has said yet who they are
_HEADERS = ("content-type", "content-md5", *attributes.SYSTEM)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110 §5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


async def post_object(gateway: Gateway, request: Request) -> Response:
    try:
        async with asyncio.timeout(UNSIGNED_S_MAX):
            form = await read_form(request)
    except TimeoutError:
        raise S3Error("RequestTimeout") from None
    fields = {name: value.replace("${filename}", form.filename) for name, value in form.fields.items()}
    fields["bucket"] = request.bucket  # the one that is written to, whatever the form says
    if "awsaccesskeyid" in fields and not gateway.signature_v2:
        raise authn.version_2_refused()
    request.principal = _signer(gateway, fields)
    policy = policy_document.parse(fields["policy"])
    policy.check(fields, time.time())
    await gateway.bucket(request)
    headers = _headers(fields)
    in_utf8 = [name for name, value in headers.items() if not value.isascii()]  # as forms are
    kept, key = attributes.from_headers(headers, in_utf8), _key(fields)
    digests = BodyDigests(headers, "", signed="")
    stored = await payload.store_unsized(gateway.blobs, _within(policy, form.file()), digests, request.partition)
    command = commands.PutObject(request.bucket, key, stored.size, stored.etag, stored.extents, stored.checksum, kept)
    await gateway.commander.submit_payload(request.id, request.principal, command)
    return _answer(request, fields, key, [("etag", f'"{stored.etag}"'), *attributes.checksum_headers(stored.checksum)])


def _signer(gateway: Gateway, fields: dict[str, str]) -> str:
    """The user whose signature of the policy holds. Raises AccessDenied for a form without one."""
    if not fields.keys() & {"policy", "x-amz-signature", "signature"}:
        raise S3Error("AccessDenied")
    credentials, policy = gateway.credentials, _field(fields, "policy").encode()
    if "awsaccesskeyid" in fields:  # version 2: "Authenticating Requests in Browser-Based Uploads", its older form
        access_key, given = fields["awsaccesskeyid"], _field(fields, "signature")
        secret = sigv4.secret_of(credentials, access_key)
        expected = base64.b64encode(hmac.digest(secret.encode(), policy, "sha1")).decode()
    else:
        if _field(fields, "x-amz-algorithm") != claim.ALGORITHM:
            message = f"x-amz-algorithm must be {claim.ALGORITHM}"
            raise invalid_argument("x-amz-algorithm", fields["x-amz-algorithm"], message)
        credential, date = _field(fields, "x-amz-credential"), _field(fields, "x-amz-date")
        given = _field(fields, "x-amz-signature")
        access_key, scope = claim.scope_of(credential, date[:8], claim.IN_FORM, gateway.region)
        key = sigv4.signing_key(sigv4.secret_of(credentials, access_key), scope)
        expected = hmac.digest(key, policy, "sha256").hex()
    if not hmac.compare_digest(expected.encode(), given.encode()):
        raise S3Error(
            "SignatureDoesNotMatch",
            AWSAccessKeyId=access_key,
            StringToSign=policy.decode(),
            SignatureProvided=given,
            StringToSignBytes=policy.hex(" "),
        )
    if "x-amz-security-token" in fields:
        raise S3Error("InvalidToken")
    return credentials.user(access_key)


def _field(fields: dict[str, str], name: str) -> str:
    if name not in fields:
        message = (
            f"Bucket POST must contain a field named '{name}'. If it is specified, please check the order of the fields."
        )
        raise invalid_argument(name, "", message)
    return fields[name]


def _key(fields: dict[str, str]) -> str:
    key = _field(fields, "key")
    if not key:
        raise invalid_argument("key", "", "User key must have a length greater than 0.")
    if "\0" in key:
        raise S3Error("InvalidURI", "NUL is not allowed.")
    check_key(key)
    return key


def _headers(fields: dict[str, str]) -> dict[str, str]:
    """The fields that mean what headers of PutObject mean. Raises InvalidArgument for what no header can hold."""
    attributes.check_acl("acl", fields.get("acl", "private"))
    if fields.get("acl", "private") not in attributes.OWNER_ONLY_ACLS or fields.get("tagging"):
        raise S3Error("NotImplemented")
    names = [name for name in fields if name in _HEADERS or name.startswith("x-amz-")]
    for name in names:
        if not _HEADER_NAME.fullmatch(name) or _CONTROL.search(fields[name]):
            raise S3Error("InvalidArgument", f"The field '{name}' holds what no header can hold.")
    return {name: fields[name] for name in names}


async def _within(policy: Policy, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Raises EntityTooLarge as soon as the file is, EntityTooSmall at its end."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > policy.size_max:
            raise S3Error("EntityTooLarge", ProposedSize=size, MaxSizeAllowed=policy.size_max)
        yield chunk
    if size < policy.size_min:
        raise S3Error("EntityTooSmall", ProposedSize=size, MinSizeAllowed=policy.size_min)


def _answer(request: Request, fields: dict[str, str], key: str, headers: list[tuple[str, str]]) -> Response:
    """As success_action_redirect says, else success_action_status, else 204."""
    etag = dict(headers)["etag"]
    target = fields.get("success_action_redirect", fields.get("redirect", ""))
    if _is_url(target):
        query = urlencode({"bucket": request.bucket, "key": key, "etag": etag})
        return Response(303, [("location", f"{target}{'&' if urlsplit(target).query else '?'}{query}"), *headers])
    location = request.url(key)
    headers = [("location", location), *headers]
    match fields.get("success_action_status"):
        case "200":
            return Response(200, headers)
        case "201":
            names = {"Location": location, "Bucket": request.bucket, "Key": key, "ETag": etag}
            document = xml.document("PostResponse", [xml.text(name, value) for name, value in names.items()])
            return Response(201, [XML, *headers], document)
        case _:
            return Response(204, headers)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and text.isascii() and text.isprintable()
