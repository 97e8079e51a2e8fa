"""GetObjectAttributes: what is known of an object, without its bytes (S3 API)."""

from gateway import attributes, xml
from gateway.context import Gateway, Response
from gateway.errors import S3Error
from gateway.request import Request
from processors.reads import Object

KNOWN = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")
PARTS_MAX = 1000  # a page


async def get_object_attributes(gateway: Gateway, request: Request) -> Response:
    wanted = [each.strip() for each in request.headers.get("x-amz-object-attributes", "").split(",")]
    if not all(each in KNOWN for each in wanted):
        raise S3Error("InvalidArgument", "Invalid attribute name specified.")
    found = await gateway.object(request)
    rows = []
    if "ETag" in wanted:
        rows.append(xml.text("ETag", found.etag))
    if "Checksum" in wanted and found.checksum is not None:
        names = [
            xml.text(f"Checksum{found.checksum.algorithm}", found.checksum.value),
            xml.text("ChecksumType", found.checksum.kind),
        ]
        rows.append(xml.element("Checksum", names))
    if "ObjectParts" in wanted and found.parts:
        rows.append(_parts(request, found))
    if "StorageClass" in wanted:
        rows.append(xml.text("StorageClass", found.attributes.storage_class))
    if "ObjectSize" in wanted:
        rows.append(xml.text("ObjectSize", found.size))
    headers = [("content-type", "application/xml"), ("last-modified", attributes.last_modified(found.modified_ms))]
    return Response(200, headers, xml.document("GetObjectAttributesResponse", rows))


def _parts(request: Request, found: Object) -> str:
    limit = _number(request, "x-amz-max-parts", PARTS_MAX)
    after = _number(request, "x-amz-part-number-marker", 0)
    rest = [(number, size, value) for number, size, value in found.parts if number > after]
    page = rest[:limit]
    rows = [
        xml.text("PartsCount", len(found.parts)),
        xml.text("PartNumberMarker", after),
        xml.text("NextPartNumberMarker", page[-1][0] if page else after),
        xml.text("MaxParts", limit),
        xml.text("IsTruncated", str(len(rest) > limit).lower()),
    ]
    for number, size, value in page:
        row = [xml.text("PartNumber", number), xml.text("Size", size)]
        if value and found.checksum is not None:
            row.append(xml.text(f"Checksum{found.checksum.algorithm}", value))
        rows.append(xml.element("Part", row))
    return xml.element("ObjectParts", rows)


def _number(request: Request, name: str, default: int) -> int:
    text = request.headers.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise S3Error("InvalidArgument", f"Provided {name} not an integer or within integer range")
    return min(int(text), PARTS_MAX) if default else int(text)
