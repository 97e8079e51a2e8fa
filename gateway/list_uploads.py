"""ListParts and ListMultipartUploads (S3 API)."""

from gateway import xml
from gateway.context import Gateway, Response, xml_response
from gateway.listing import encoder
from gateway.multipart import PARTS_MAX, upload_of
from gateway.request import Request
from processors.reads import Upload

_PAGE_MAX = 1000


async def list_parts(gateway: Gateway, request: Request) -> Response:
    upload = await upload_of(gateway, request)
    limit = request.integer("max-parts", _PAGE_MAX, 0, _PAGE_MAX)
    after = request.integer("part-number-marker", 0, 0, PARTS_MAX)
    found = await gateway.reads.parts(request.bucket, request.query["uploadId"], after, limit + 1)
    page = found[:limit]
    rows = [
        xml.text("Bucket", request.bucket),
        xml.text("Key", request.key),
        xml.text("UploadId", request.query["uploadId"]),
        xml.owner("Initiator", upload.initiator),
        xml.owner("Owner", upload.initiator),
        xml.text("StorageClass", upload.attributes.storage_class),
        xml.text("ChecksumAlgorithm", upload.checksum_algorithm),
        xml.text("ChecksumType", upload.checksum_kind),
        xml.text("PartNumberMarker", after),
        xml.text("MaxParts", limit),
        xml.text("IsTruncated", str(len(found) > limit).lower()),
    ]
    if page:
        rows.append(xml.text("NextPartNumberMarker", page[-1][0]))
    for number, part in page:
        row = [
            xml.text("PartNumber", number),
            xml.text("LastModified", xml.timestamp(part.modified_ms)),
            xml.text("ETag", f'"{part.etag}"'),
            xml.text("Size", part.size),
        ]
        if part.checksum is not None:
            row.append(xml.text(f"Checksum{part.checksum.algorithm}", part.checksum.value))
        rows.append(xml.element("Part", row))
    return xml_response(xml.document("ListPartsResult", rows))


async def list_uploads(gateway: Gateway, request: Request) -> Response:
    bucket = await gateway.bucket(request)
    query, encode = request.query, encoder(request)
    limit = request.integer("max-uploads", _PAGE_MAX, 1, _PAGE_MAX)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after = (query.get("key-marker", ""), query.get("upload-id-marker", ""))
    found = await gateway.reads.uploads(request.bucket, bucket, prefix, delimiter, after, limit)
    rows = [
        xml.text("Bucket", request.bucket),
        xml.text("KeyMarker", encode(after[0])),
        xml.text("UploadIdMarker", after[1]),
        xml.text("Prefix", encode(prefix)),
        xml.text("MaxUploads", limit),
        xml.text("IsTruncated", str(bool(found.next_key)).lower()),
    ]
    if delimiter:
        rows.append(xml.text("Delimiter", encode(delimiter)))
    if query.get("encoding-type"):
        rows.append(xml.text("EncodingType", "url"))
    if found.next_key:
        rows += [
            xml.text("NextKeyMarker", encode(found.next_key)),
            xml.text("NextUploadIdMarker", found.next_upload),
        ]
    rows += [_upload_row(encode(key), upload, row) for key, upload, row in found.uploads]
    rows += [xml.element("CommonPrefixes", [xml.text("Prefix", encode(each))]) for each in found.prefixes]
    return xml_response(xml.document("ListMultipartUploadsResult", rows))


def _upload_row(key: str, upload: str, row: Upload) -> str:
    return xml.element(
        "Upload",
        [
            xml.text("Key", key),
            xml.text("UploadId", upload),
            xml.owner("Initiator", row.initiator),
            xml.owner("Owner", row.initiator),
            xml.text("StorageClass", row.attributes.storage_class),
            xml.text("Initiated", xml.timestamp(row.initiated_ms)),
        ],
    )
