"""ListObjects, ListObjectsV2 and ListObjectVersions: a prefix scan of the view, rendered by hand (the hot path)."""

import base64
import re
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from gateway import xml
from gateway.context import Gateway, Response, check_version, xml_response
from gateway.errors import invalid_argument
from gateway.request import Request
from processors.reads import Listing, Object

KEYS_MAX = 1000  # S3: a page
Encode = Callable[[str], str]
_XML_NAME = re.compile(r"[a-z0-9._-]+")  # after a letter; a header's name may hold more


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
    parts += _rows(request, found, encode, xml.owner("Owner", request.principal))
    return xml_response(xml.document("ListBucketResult", parts))


async def list_objects_v2(gateway: Gateway, request: Request) -> Response:
    query, encode = request.query, encoder(request)
    token, start_after = query.get("continuation-token"), query.get("start-after", "")
    found, limit = await _find(gateway, request, from_token(token) if token else start_after)  # an empty one is none, in S3
    parts = _head(request, encode, limit, is_truncated=bool(found.next_marker))
    parts.append(xml.text("KeyCount", len(found.contents) + len(found.prefixes)))
    if token is not None:
        parts.append(xml.text("ContinuationToken", token))
    if found.next_marker:
        parts.append(xml.text("NextContinuationToken", to_token(found.next_marker)))
    if start_after:
        parts.append(xml.text("StartAfter", encode(start_after)))
    shown_owner = xml.owner("Owner", request.principal) if query.get("fetch-owner") == "true" else ""
    return xml_response(xml.document("ListBucketResult", parts + _rows(request, found, encode, shown_owner)))


async def list_versions(gateway: Gateway, request: Request) -> Response:
    """Of a bucket without versioning: each object is its own latest version, "null"."""
    encode, marker, version = (
        encoder(request),
        request.query.get("key-marker", ""),
        request.query.get("version-id-marker", ""),
    )
    if version and not marker:
        raise invalid_argument(
            "version-id-marker", version, "A version-id marker cannot be specified without a key marker."
        )
    if version:
        check_version(version)
    found, limit = await _find(gateway, request, marker)
    parts = [
        *_head(request, encode, limit, is_truncated=bool(found.next_marker)),
        xml.text("KeyMarker", encode(marker)),
        xml.text("VersionIdMarker", version),
    ]
    if found.next_marker:
        parts.append(xml.text("NextKeyMarker", encode(found.next_marker)))
    if found.next_marker and found.next_marker not in found.prefixes[-1:]:  # a common prefix has no versions
        parts.append(xml.text("NextVersionIdMarker", "null"))
    shown = f"<VersionId>null</VersionId><IsLatest>true</IsLatest>{xml.owner('Owner', request.principal)}"
    parts += _rows(request, found, encode, shown, name="Version")
    return xml_response(xml.document("ListVersionsResult", parts))


def encoder(request: Request) -> Encode:
    kind = request.query.get("encoding-type", "")
    if kind not in ("", "url"):
        raise invalid_argument("encoding-type", kind, "Invalid Encoding Method specified in Request")
    return partial(quote, safe="/") if kind else str


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


def _rows(request: Request, found: Listing, encode: Encode, extra: str, name: str = "Contents") -> list[str]:
    if request.query.get("metadata") == "true":
        rows = [_row(name, encode(key), row, extra + _metadata(row)) for key, row in found.contents]
    else:
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


def _metadata(row: Object) -> str:
    """MinIO's extension `metadata=true`, by which mc and minio-go show it without a request for each object."""
    kept = row.attributes
    fields = {"content-type": kept.content_type, **kept.headers}
    fields |= {f"X-Amz-Meta-{name.title()}": value for name, value in kept.metadata.items() if _XML_NAME.fullmatch(name)}
    return xml.element("UserMetadata", [xml.text(name, value) for name, value in fields.items()])


def to_token(name: str) -> str:
    """Of the last name of a page, for the request of the next."""
    return base64.urlsafe_b64encode(name.encode()).decode()


def from_token(token: str) -> str:
    """Raises InvalidArgument for what `to_token` never gave."""
    try:
        name = base64.b64decode(token, b"-_", validate=True).decode()
    except ValueError:  # of what is no base64, and no UTF-8
        name = ""
    if not name:
        raise invalid_argument("continuation-token", token, "The continuation token provided is incorrect")
    return name
