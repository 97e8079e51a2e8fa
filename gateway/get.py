"""GetObject and HeadObject: conditions, ranges, part numbers, response-* overrides (S3 API; RFC 9110 §13, §14)."""

import re
from email.utils import formatdate

from gateway import attributes, payload
from gateway.context import Gateway, Response
from gateway.errors import S3Error
from gateway.request import Request, http_date
from processors.reads import Object

_RANGE = re.compile(r"bytes=([0-9]{0,20})-([0-9]{0,20})")  # 20 digits are beyond every size
_OVERRIDES = ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")


async def get_object(gateway: Gateway, request: Request) -> Response:
    found = await gateway.object(request)
    status, headers, start, size = _answer(request, found)
    if size <= payload.WINDOW_BYTES:
        data = b"".join([chunk async for chunk in payload.read(gateway.blobs, found.extents, start, size)])
        return Response(status, headers, data)
    headers.append(("content-length", str(size)))
    return Response(status, headers, payload.read(gateway.blobs, found.extents, start, size))


async def head_object(gateway: Gateway, request: Request) -> Response:
    status, headers, _, size = _answer(request, await gateway.object(request))
    return Response(status, [*headers, ("content-length", str(size))])


def _answer(request: Request, found: Object) -> tuple[int, list[tuple[str, str]], int, int]:
    """(status, headers, start, size) of the bytes to send. Raises NotModified, PreconditionFailed, InvalidRange."""
    check_conditions(request.headers, found, "")
    headers = [
        ("accept-ranges", "bytes"),
        ("last-modified", formatdate(found.modified_ms // 1000, usegmt=True)),
        ("etag", f'"{found.etag}"'),
        *attributes.to_headers(found.attributes),
    ]
    override = {n: request.query[f"response-{n}"] for n in _OVERRIDES if f"response-{n}" in request.query}
    headers = [(name, value) for name, value in headers if name not in override] + list(override.items())
    if any("\n" in value or "\r" in value for value in override.values()):
        raise S3Error("InvalidArgument", "Header values cannot hold line breaks.")
    wants_checksum = request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED"
    if "partNumber" in request.query:
        start, size, count = part_range(request, found)
        if count:
            headers.append(("x-amz-mp-parts-count", str(count)))
        if found.size:
            headers.append(("content-range", f"bytes {start}-{start + size - 1}/{found.size}"))
        return 206, headers, start, size
    span = byte_range(request.headers.get("range", ""), found.size)
    if span is not None:
        start, size = span
        headers.append(("content-range", f"bytes {start}-{start + size - 1}/{found.size}"))
        return 206, headers, start, size
    if wants_checksum:
        headers += attributes.checksum_headers(found.checksum)
    return 200, headers, 0, found.size


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """(start, length) of a single range; None where the header asks for none that we honour. Raises InvalidRange."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or (not match[1] and not match[2]):
        return None  # RFC 9110 §14.2: a malformed range is ignored
    if not match[1]:
        length = min(int(match[2]), size)
        if length == 0:
            raise S3Error("InvalidRange")
        return size - length, length
    start = int(match[1])
    end = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < start:
        return None
    if start >= size:
        raise S3Error("InvalidRange")
    return start, end - start + 1


def part_range(request: Request, found: Object) -> tuple[int, int, int]:
    """(start, length, number of parts) of ?partNumber. Raises InvalidPartNumber."""
    number = request.integer("partNumber", 1, 1, 10_000)
    if not found.parts:
        if number != 1:
            raise S3Error("InvalidPartNumber")
        return 0, found.size, 0
    if number > len(found.parts):
        raise S3Error("InvalidPartNumber")
    sizes = [size for _, size, _ in found.parts]
    return sum(sizes[: number - 1]), sizes[number - 1], len(sizes)


def check_conditions(headers: dict[str, str], found: Object, prefix: str) -> None:
    """The read conditions of RFC 9110 §13.2.2, also as x-amz-copy-source-*. Raises PreconditionFailed or NotModified."""
    match, none_match = headers.get(f"{prefix}if-match"), headers.get(f"{prefix}if-none-match")
    unmodified, modified = headers.get(f"{prefix}if-unmodified-since"), headers.get(f"{prefix}if-modified-since")
    if match is not None:
        if not _names(match, found.etag):
            raise S3Error("PreconditionFailed")
    elif unmodified is not None and _is_later(found, unmodified):
        raise S3Error("PreconditionFailed")
    if none_match is not None:
        if _names(none_match, found.etag):
            raise _missed(found, prefix)
    elif modified is not None and http_date(modified) is not None and not _is_later(found, modified):
        raise _missed(found, prefix)


def _missed(found: Object, prefix: str) -> S3Error:
    """A copy fails; a read is told that what it has is current, with what names that (RFC 9110 §15.4.5)."""
    if prefix:
        return S3Error("PreconditionFailed")
    modified = formatdate(found.modified_ms // 1000, usegmt=True)
    return S3Error("NotModified", headers=[("etag", f'"{found.etag}"'), ("last-modified", modified)])


def _names(header: str, etag: str) -> bool:
    return any(each.strip().removeprefix("W/").strip('"') in ("*", etag) for each in header.split(","))


def _is_later(found: Object, date: str) -> bool:
    given = http_date(date)
    return given is not None and found.modified_ms // 1000 > given.timestamp()
