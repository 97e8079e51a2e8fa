"""Multipart uploads: CreateMultipartUpload, UploadPart, CompleteMultipartUpload, AbortMultipartUpload (S3 API)."""

import re
import uuid
from xml.etree.ElementTree import Element

from gateway import attributes, checksums, copy, payload, xml
from gateway.body import Body
from gateway.context import Gateway, Response, xml_response
from gateway.errors import S3Error
from gateway.put import PUT_BYTES_MAX
from gateway.request import Request
from processors.reads import Upload
from topics import commands
from topics.objects import Checksum

PARTS_MAX = 10_000
_NEVER = ("COMPOSITE", "CRC64NVME")
ELEMENTS_MAX = 5 * PARTS_MAX  # of a completion: a part, its number, its ETag, a checksum


async def create_upload(gateway: Gateway, request: Request) -> Response:
    kept = attributes.from_headers(request.headers, request.in_utf8)
    await gateway.bucket(request)
    algorithm = checksums.wanted_algorithm(request.headers)
    kind = request.headers.get("x-amz-checksum-type", "DEFAULT").upper()
    if kind not in ("DEFAULT", "COMPOSITE", "FULL_OBJECT"):
        raise S3Error("InvalidRequest", "Value for x-amz-checksum-type header is invalid.")
    if kind == "DEFAULT":
        kind = "FULL_OBJECT" if algorithm in ("", "CRC64NVME") else "COMPOSITE"
    elif not algorithm:
        raise S3Error("InvalidRequest", "The x-amz-checksum-type header can only be used with x-amz-checksum-algorithm.")
    if (kind == "FULL_OBJECT" and algorithm not in ("", *checksums.FULL_OBJECT)) or (kind, algorithm) == _NEVER:
        raise S3Error("InvalidRequest", f"The {kind} checksum type cannot be used with the {algorithm.lower()} algorithm.")
    upload = uuid.uuid4().hex
    command = commands.CreateUpload(request.bucket, request.key, upload, algorithm or checksums.DEFAULT, kind, kept)
    await gateway.commander.submit(request.id, request.principal, command)
    headers = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)] if algorithm else []
    parts = [xml.text("Bucket", request.bucket), xml.text("Key", request.key), xml.text("UploadId", upload)]
    return Response(
        200, [("content-type", "application/xml"), *headers], xml.document("InitiateMultipartUploadResult", parts)
    )


async def upload_part(gateway: Gateway, request: Request) -> Response:
    number = _part_number(request)
    upload = await upload_of(gateway, request)
    body = Body(request, upload.checksum_algorithm)
    if body.digests.algorithm != upload.checksum_algorithm != checksums.DEFAULT:  # the default may be nobody's choice
        raise S3Error(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {upload.checksum_algorithm.lower()}, "
            f"actual checksum Type: {body.digests.algorithm.lower()}",
        )
    if body.length > PUT_BYTES_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=body.length, MaxSizeAllowed=PUT_BYTES_MAX)
    stored = await payload.store(gateway.blobs, body, request.partition)
    command = commands.PutPart(
        request.bucket,
        request.key,
        request.query["uploadId"],
        number,
        stored.size,
        stored.etag,
        stored.extents,
        stored.checksum,
    )
    await gateway.commander.submit_payload(request.id, request.principal, command)
    shown = attributes.checksum_headers(stored.checksum)[:1]
    return Response(200, [("etag", f'"{stored.etag}"'), *shown])


async def upload_part_copy(gateway: Gateway, request: Request) -> Response:
    number = _part_number(request)
    upload = await upload_of(gateway, request)
    return await copy.copy_part(gateway, request, request.query["uploadId"], number, upload.checksum_algorithm)


async def complete_upload(gateway: Gateway, request: Request) -> Response:
    await gateway.bucket(request)
    whole = _take_checksum(request)
    tree = xml.parse(await Body(request).whole(xml.BODY_BYTES_MAX), "CompleteMultipartUpload", ELEMENTS_MAX)
    parts = [_part(each) for each in tree.findall("Part")]
    if not parts:
        raise S3Error("MalformedXML")
    if len(parts) > PARTS_MAX:
        raise S3Error("InvalidArgument", f"A multipart upload has at most {PARTS_MAX} parts.")
    size = request.headers.get("x-amz-mp-object-size")
    if size is not None and not re.fullmatch(r"[0-9]{1,15}", size):
        raise S3Error("InvalidRequest", "Value for x-amz-mp-object-size header is invalid.")
    command = commands.CompleteUpload(
        request.bucket,
        request.key,
        request.query["uploadId"],
        parts,
        whole,
        int(size) if size is not None else None,
        attributes.preconditions(request),
    )
    reply = await gateway.commander.submit(request.id, request.principal, command)
    rows = [
        xml.text("Location", request.url(request.key)),
        xml.text("Bucket", request.bucket),
        xml.text("Key", request.key),
        xml.text("ETag", f'"{reply.etag}"'),
    ]
    if reply.checksum is not None:
        rows += [
            xml.text(f"Checksum{reply.checksum.algorithm}", reply.checksum.value),
            xml.text("ChecksumType", reply.checksum.kind),
        ]
    return xml_response(xml.document("CompleteMultipartUploadResult", rows))


async def abort_upload(gateway: Gateway, request: Request) -> Response:
    await gateway.bucket(request)
    command = commands.AbortUpload(request.bucket, request.key, request.query["uploadId"])
    await gateway.commander.submit(request.id, request.principal, command)
    return Response(204)


async def upload_of(gateway: Gateway, request: Request) -> Upload:
    bucket = await gateway.bucket(request)
    found = await gateway.reads.upload(request.bucket, bucket, request.key, request.query["uploadId"])
    if found is None:
        raise S3Error("NoSuchUpload")
    return found


def _part_number(request: Request) -> int:
    text = request.query.get("partNumber", "")
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= PARTS_MAX:
        raise S3Error("InvalidArgument", f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive")
    return int(text)


def _part(each: Element) -> commands.PartName:
    number, etag = xml.child(each, "PartNumber"), xml.child(each, "ETag")
    if number is None or etag is None or not re.fullmatch(r"\s*[0-9]{1,6}\s*", number):
        raise S3Error("MalformedXML")
    sums = [value for a in checksums.ALGORITHMS if (value := xml.child(each, f"Checksum{a}")) is not None]
    if "" in sums or len(sums) > 1:
        raise S3Error("MalformedXML")
    return commands.PartName(int(number), etag.strip().strip('"'), sums[0] if sums else "")


def _take_checksum(request: Request) -> Checksum | None:
    """x-amz-checksum-* of a completion names the object's checksum, not the request body's."""
    found = checksums.given(request.headers)
    if found is not None:
        del request.headers[checksums.header(found.algorithm)]
    return found
