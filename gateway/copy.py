"""CopyObject and UploadPartCopy. The bytes are copied: extents belong to one object each until clones are built."""

import base64
import re
from collections.abc import AsyncIterator
from urllib.parse import unquote_to_bytes

from gateway import attributes, checksums, payload, xml
from gateway.context import Gateway, Response, check_version, xml_response
from gateway.errors import S3Error, invalid_argument
from gateway.get import check_conditions
from gateway.hashing import BESIDE_BYTES_MIN, Hashing
from gateway.put import PUT_BYTES_MAX, check_target
from gateway.request import Request, check_key, is_bucket_name
from processors.reads import Object
from topics import commands
from topics.objects import Attributes, Checksum, Extent

_PREFIX = "x-amz-copy-source-"
_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{1,15})")
_REDIRECT = "x-amz-website-redirect-location"


async def copy_object(gateway: Gateway, request: Request) -> Response:
    wanted = await check_target(gateway, request)
    bucket, key, found = await source(gateway, request)
    if found.size > PUT_BYTES_MAX:
        raise S3Error("InvalidRequest", "The specified copy source is larger than the maximum allowable size.")
    kept, is_same = _attributes(request, found)
    if is_same and (bucket, key) == (request.bucket, request.key):
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes.",
        )
    algorithm = checksums.wanted_algorithm(request.headers)
    extents, etag, checksum = await copy_bytes(gateway, request, found, 0, found.size, algorithm)
    command = commands.PutObject(
        request.bucket, request.key, found.size, etag, extents, checksum, kept, wanted, copied=True
    )
    reply = await gateway.commander.submit_payload(request.id, request.principal, command)
    return _result("CopyObjectResult", etag, reply.time_ms, checksum)


def _attributes(request: Request, found: Object) -> tuple[Attributes, bool]:
    """What the copy keeps, and whether that is the source's. Storage class and redirect are never the source's in S3."""
    directive = request.headers.get("x-amz-metadata-directive", "COPY").upper()
    if directive not in ("COPY", "REPLACE"):
        raise invalid_argument("x-amz-metadata-directive", directive, "Unknown metadata directive.")
    given, old = attributes.from_headers(request.headers, request.in_utf8), found.attributes
    if directive == "REPLACE":
        return given, False
    headers = {name: value for name, value in old.headers.items() if name != _REDIRECT}
    if _REDIRECT in given.headers:
        headers[_REDIRECT] = given.headers[_REDIRECT]
    kept = Attributes(old.content_type, headers, old.metadata, given.storage_class, old.in_utf8)
    return kept, kept.storage_class == old.storage_class and _REDIRECT not in given.headers


async def copy_part(gateway: Gateway, request: Request, upload: str, number: int, algorithm: str) -> Response:
    _, _, found = await source(gateway, request)
    start, size = source_range(request.headers.get(f"{_PREFIX}range"), found.size)
    if size > PUT_BYTES_MAX:
        raise S3Error("InvalidRequest", "The specified copy source is larger than the maximum allowable size.")
    extents, etag, checksum = await copy_bytes(gateway, request, found, start, size, algorithm)
    command = commands.PutPart(request.bucket, request.key, upload, number, size, etag, extents, checksum)
    reply = await gateway.commander.submit_payload(request.id, request.principal, command)
    return _result("CopyPartResult", etag, reply.time_ms, checksum)


def source_range(header: str | None, size: int) -> tuple[int, int]:
    """(start, length) of x-amz-copy-source-range. Unlike a GET's it must lie inside of its source: InvalidArgument."""
    if header is None:
        return 0, size
    match = _RANGE.fullmatch(header)
    if match is None or int(match[1]) > int(match[2]):
        message = (
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy"
        )
        raise invalid_argument(f"{_PREFIX}range", header, message)
    if int(match[2]) >= size:
        message = f"Range specified is not valid for source object of size: {size}"
        raise invalid_argument(f"{_PREFIX}range", header, message)
    return int(match[1]), int(match[2]) - int(match[1]) + 1


async def source(gateway: Gateway, request: Request) -> tuple[str, str, Object]:
    """(bucket, key, object) of x-amz-copy-source, its conditions checked."""
    bucket_name, key, version = named_source(request.headers["x-amz-copy-source"])
    await gateway.begin_read(request)
    found = await gateway.owned_object(request, bucket_name, key, "x-amz-source-expected-bucket-owner")
    if version not in ("", "null"):
        raise S3Error("NoSuchVersion", Key=key, VersionId=version)
    if found is None:
        raise S3Error("NoSuchKey", Key=key)
    check_conditions(request.headers, found, _PREFIX)
    return bucket_name, key, found


def named_source(header: str) -> tuple[str, str, str]:
    """(bucket, key, version id or nothing). Raises InvalidArgument."""

    def wrong(message: str) -> S3Error:
        return invalid_argument("x-amz-copy-source", header, message)

    path, separator, version = header.partition("?versionId=")
    try:
        bucket, _, key = unquote_to_bytes(path).decode().removeprefix("/").partition("/")
        check_key(key)
    except UnicodeDecodeError:
        raise wrong("Invalid copy source encoding") from None
    except S3Error:
        raise wrong("Invalid copy source object key") from None
    if not bucket or not key:
        raise wrong("Copy Source must mention the source bucket and key: sourcebucket/sourcekey")
    if not is_bucket_name(bucket):
        raise wrong("Invalid copy source bucket name")
    if "\0" in key:
        raise wrong("Invalid copy source object key")
    if separator:
        check_version(version)
    return bucket, key, version


async def copy_bytes(
    gateway: Gateway, request: Request, found: Object, start: int, size: int, algorithm: str
) -> tuple[list[Extent], str, Checksum]:
    """With a checksum by `algorithm`, or else by that of the source."""
    if not algorithm and found.checksum is not None:
        algorithm = found.checksum.algorithm
    algorithm = algorithm or checksums.DEFAULT
    md5, digest = checksums.new("MD5"), checksums.new(algorithm)
    hashing = Hashing([md5.update, digest.update], is_beside=size >= BESIDE_BYTES_MIN)

    async def passing() -> AsyncIterator[bytes]:
        async for chunk in payload.read(gateway.blobs, found.extents, start, size, gateway.check_read(request)):
            await hashing.add(chunk)
            yield chunk
        await hashing.end()

    if size <= payload.INLINE_BYTES_MAX:
        extents = await payload.put_inline(gateway.blobs, b"".join([chunk async for chunk in passing()]), request.partition)
    else:
        extents = await payload.write_extents(gateway.blobs, passing(), size, request.partition)
    return extents, md5.digest().hex(), Checksum(algorithm, base64.b64encode(digest.digest()).decode())


def _result(name: str, etag: str, time_ms: int, checksum: Checksum | None) -> Response:
    parts = [xml.text("LastModified", xml.timestamp(time_ms)), xml.text("ETag", f'"{etag}"')]
    if checksum is not None:
        parts.append(xml.text(f"Checksum{checksum.algorithm}", checksum.value))
        if name == "CopyObjectResult":
            parts.append(xml.text("ChecksumType", checksum.kind))
    return xml_response(xml.document(name, parts))
