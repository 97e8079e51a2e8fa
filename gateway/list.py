"""ListObjects, ListObjectsV2 and ListObjectVersions: a prefix scan of the view, rendered by hand (the hot path)."""

import base64
import binascii
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from gateway import xml
from gateway.buckets import owner
from gateway.context import Gateway, Response, xml_response
from gateway.errors import S3Error
from gateway.request import Request
from processors.reads import Listing, Object

KEYS_MAX = 1000  # S3: a page
Encode = Callable[[str], str]


async def list_objects(gateway: Gateway, request: Request) -> Response:
    query, encode = request.query, encoder(request)
    marker, delimiter = query.get("marker", ""), query.get("delimiter", "")
    found, limit = await _find(gateway, request, marker)
    parts = [
        *_head(request, encode, limit, is_truncated=bool(found.next_marker)),
        xml.text("Marker", encode(marker)),
    ]
    if found.next_marker and delimiter:
        parts.append(xml.text("NextMarker", encode(found.next_marker)))
    parts += _rows(found, encode, owner("Owner", request.principal))
    return xml_response(xml.document("ListBucketResult", parts))


async def list_objects_v2(gateway: Gateway, request: Request) -> Response:
    query, encode = request.query, encoder(request)
    token, start_after = query.get("continuation-token"), query.get("start-after", "")
    found, limit = await _find(gateway, request, _from_token(token) if token else start_after)
    parts = _head(request, encode, limit, is_truncated=bool(found.next_marker))
    parts.append(xml.text("KeyCount", len(found.contents) + len(found.prefixes)))
    if token is not None:
        parts.append(xml.text("ContinuationToken", token))
    if found.next_marker:
        parts.append(xml.text("NextContinuationToken", base64.urlsafe_b64encode(found.next_marker.encode()).decode()))
    if start_after:
        parts.append(xml.text("StartAfter", encode(start_after)))
    shown_owner = owner("Owner", request.principal) if query.get("fetch-owner") == "true" else ""
    return xml_response(xml.document("ListBucketResult", parts + _rows(found, encode, shown_owner)))


async def list_versions(gateway: Gateway, request: Request) -> Response:
    """Of a bucket without versioning: each object is its own latest version, "null"."""
    encode, marker = encoder(request), request.query.get("key-marker", "")
    found, limit = await _find(gateway, request, marker)
    parts = [
        *_head(request, encode, limit, is_truncated=bool(found.next_marker)),
        xml.text("KeyMarker", encode(marker)),
        xml.text("VersionIdMarker", request.query.get("version-id-marker", "")),
    ]
    if found.next_marker:
        parts += [xml.text("NextKeyMarker", encode(found.next_marker)), xml.text("NextVersionIdMarker", "null")]
    shown = f"<VersionId>null</VersionId><IsLatest>true</IsLatest>{owner('Owner', request.principal)}"
    parts += _rows(found, encode, shown, name="Version")
    return xml_response(xml.document("ListVersionsResult", parts))


def encoder(request: Request) -> Encode:
    kind = request.query.get("encoding-type", "")
    if kind not in ("", "url"):
        raise S3Error("InvalidArgument", "Invalid Encoding Method specified in Request")
    return partial(quote, safe="/-_.~*!'()") if kind else str


async def _find(gateway: Gateway, request: Request, after: str) -> tuple[Listing, int]:
    bucket = await gateway.bucket(request)
    limit = request.integer("max-keys", KEYS_MAX, 0, KEYS_MAX)
    prefix, delimiter = request.query.get("prefix", ""), request.query.get("delimiter", "")
    if limit == 0:
        return Listing([], [], ""), 0
    return await gateway.reads.listing(request.bucket, bucket, prefix, delimiter, after, limit), limit


def _head(request: Request, encode: Encode, limit: int, *, is_truncated: bool) -> list[str]:
    query = request.query
    parts = [xml.text("Name", request.bucket), xml.text("Prefix", encode(query.get("prefix", "")))]
    if query.get("delimiter"):
        parts.append(xml.text("Delimiter", encode(query["delimiter"])))
    if query.get("encoding-type"):
        parts.append(xml.text("EncodingType", "url"))
    return [*parts, xml.text("MaxKeys", limit), xml.text("IsTruncated", str(is_truncated).lower())]


def _rows(found: Listing, encode: Encode, extra: str, name: str = "Contents") -> list[str]:
    rows = [_row(name, encode(key), row, extra) for key, row in found.contents]
    return rows + [xml.element("CommonPrefixes", [xml.text("Prefix", encode(prefix))]) for prefix in found.prefixes]


def _row(name: str, key: str, row: Object, extra: str) -> str:
    algorithm = (
        f"<ChecksumAlgorithm>{row.checksum.algorithm}</ChecksumAlgorithm><ChecksumType>{row.checksum.kind}</ChecksumType>"
        if row.checksum
        else ""
    )
    return (
        f"<{name}>{xml.text('Key', key)}<LastModified>{xml.timestamp(row.modified_ms)}</LastModified>"
        f"<ETag>&quot;{row.etag}&quot;</ETag>{algorithm}<Size>{row.size}</Size>"
        f"<StorageClass>{row.attributes.storage_class}</StorageClass>{extra}</{name}>"
    )


def _from_token(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token).decode()
    except (binascii.Error, ValueError):
        raise S3Error("InvalidArgument", "The continuation token provided is incorrect") from None
