"""GetObject and HeadObject: conditions, ranges, part numbers, response-* overrides (S3 API; RFC 9110 §13, §14)."""

import re
from collections.abc import AsyncIterator

from gateway import attributes, payload
from gateway.context import Gateway, Response
from gateway.errors import S3Error, invalid_argument
from gateway.request import Request, http_date
from processors.reads import Object
from topics.objects import Checksum

_RANGE = re.compile(r"bytes=([0-9]{0,20})-([0-9]{0,20})")  # 20 digits are beyond every size
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110 §5.5
_OVERRIDES = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")


async def get_object(gateway: Gateway, request: Request) -> Response:
    await gateway.begin_read(request)
    found = await gateway.object(request)
    status, headers, start, size = _answer(request, found)
    where = gateway.blobs, found.extents, start, size, gateway.check_read(request)
    if size <= payload.JOINED_BYTES_MAX:
        return Response(status, headers, await payload.joined(*where))
    body = payload.read(*where)
    headers.append(("content-length", str(size)))
    return Response(status, headers, await _begun(body))


async def _begun(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """With its first bytes at hand: where even these cannot be had, an error can still be answered."""
    first = await anext(body)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for chunk in body:
            yield chunk

    return whole()


async def head_object(gateway: Gateway, request: Request) -> Response:
    status, headers, _, size = _answer(request, await gateway.object(request))
    return Response(status, [*headers, ("content-length", str(size))])


def _answer(request: Request, found: Object) -> tuple[int, list[tuple[str, str]], int, int]:
    """(status, headers, start, size) of the bytes to send. Raises NotModified, PreconditionFailed, InvalidRange."""
    check_conditions(request.headers, found, "")
    headers = [
        ("accept-ranges", "bytes"),
        ("last-modified", attributes.last_modified(found.modified_ms)),
        ("etag", f'"{found.etag}"'),
        *attributes.to_headers(found.attributes),
    ]
    override = {n: request.query[f"response-{n}"] for n in _OVERRIDES if f"response-{n}" in request.query}
    headers = [(name, value) for name, value in headers if name not in override] + list(override.items())
    for name, value in override.items():
        if not _HEADER_VALUE.fullmatch(value):
            raise invalid_argument(f"response-{name}", value, "Header value cannot be represented using ISO-8859-1.")
    wants_checksum = request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
    if "partNumber" in request.query:
        if "range" in request.headers:
            raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        start, size, checksum = part_range(request, found)
        if found.parts:
            headers.append(("x-amz-mp-parts-count", str(len(found.parts))))
        if wants_checksum:
            headers += attributes.checksum_headers(checksum)
        if found.size:
            headers.append(("content-range", f"bytes {start}-{start + size - 1}/{found.size}"))
        return 206, headers, start, size
    span = wanted_range(request.headers, found)
    if span is not None:
        start, size = span
        headers.append(("content-range", f"bytes {start}-{start + size - 1}/{found.size}"))
        return 206, headers, start, size
    if wants_checksum:
        headers += attributes.checksum_headers(found.checksum)
    return 200, headers, 0, found.size


def wanted_range(headers: dict[str, str], found: Object) -> tuple[int, int] | None:
    """As `byte_range`; all of the object where If-Range names another than what is here (RFC 9110 §13.1.5)."""
    validator = headers.get("if-range")
    if validator is not None and validator.strip('"') != found.etag:
        date = http_date(validator)
        if date is None or date.timestamp() != found.modified_ms // 1000:
            return None
    return byte_range(headers.get("range", ""), found.size)


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """(start, length) of a single range; None where the header asks for none that we honour. Raises InvalidRange."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or (not match[1] and not match[2]):
        return None  # RFC 9110 §14.2: a malformed range is ignored
    if not match[1]:
        length = min(int(match[2]), size)
        if length == 0:
            raise _beyond(header, size)
        return size - length, length
    start = int(match[1])
    end = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < start:
        return None
    if start >= size:
        raise _beyond(header, size)
    return start, end - start + 1


def _beyond(header: str, size: int) -> S3Error:
    """RFC 9110 §15.5.17: Content-Range tells how long the object is."""
    length = [("content-range", f"bytes */{size}")]
    return S3Error("InvalidRange", "", length, RangeRequested=header, ActualObjectSize=size)


def part_range(request: Request, found: Object) -> tuple[int, int, Checksum | None]:
    """(start, length, checksum) of ?partNumber; an object that was not uploaded in parts is its own first.

    Raises InvalidPartNumber (416) for one that there is not, as in S3's list of error codes; Ceph says InvalidPart (400).
    """
    if not request.query["partNumber"]:
        raise invalid_argument("partNumber", "", "Part number must be an integer between 1 and 10000, inclusive")
    wanted = request.integer("partNumber", 1, 1, 10_000)
    if not found.parts and wanted == 1:
        return 0, found.size, found.checksum
    start = 0
    for number, size, value in found.parts:
        if number == wanted:
            return start, size, Checksum(found.checksum.algorithm, value, found.checksum.kind) if found.checksum else None
        start += size
    raise S3Error("InvalidPartNumber", ActualPartCount=max(1, len(found.parts)), PartNumberRequested=wanted)


def check_conditions(headers: dict[str, str], found: Object, prefix: str) -> None:
    """The read conditions of RFC 9110 §13.2.2, also as x-amz-copy-source-*. Raises PreconditionFailed or NotModified."""
    match, none_match = headers.get(f"{prefix}if-match"), headers.get(f"{prefix}if-none-match")
    unmodified, modified = headers.get(f"{prefix}if-unmodified-since"), headers.get(f"{prefix}if-modified-since")
    if match is not None:
        if not _names(match, found.etag):
            raise _failed(prefix, "If-Match")
    elif unmodified is not None and _is_later(found, unmodified):
        raise _failed(prefix, "If-Unmodified-Since")
    if none_match is not None:
        if _names(none_match, found.etag):
            raise _missed(found, prefix, "If-None-Match")
    elif modified is not None and http_date(modified) is not None and not _is_later(found, modified):
        raise _missed(found, prefix, "If-Modified-Since")


def _failed(prefix: str, condition: str) -> S3Error:
    return S3Error("PreconditionFailed", Condition=f"{prefix}{condition}")


def _missed(found: Object, prefix: str, condition: str) -> S3Error:
    """412 for a copy; for a read 304 with what names the object that the client has (RFC 9110 §15.4.5)."""
    if prefix:
        return _failed(prefix, condition)
    modified = attributes.last_modified(found.modified_ms)
    return S3Error("NotModified", "", [("etag", f'"{found.etag}"'), ("last-modified", modified)])


def _names(header: str, etag: str) -> bool:
    return any(each.strip().removeprefix("W/").strip('"') in ("*", etag) for each in header.split(","))


def _is_later(found: Object, date: str) -> bool:
    given = http_date(date)
    return given is not None and found.modified_ms // 1000 > given.timestamp()
