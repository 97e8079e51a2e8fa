"""DeleteObject and DeleteObjects. One command a key, so that no decision is ever half in the log."""

import asyncio
from xml.etree.ElementTree import Element

from gateway import attributes, xml
from gateway.body import Body
from gateway.context import Gateway, Response, check_version, wanted_version, xml_response
from gateway.errors import S3Error, as_s3_error
from gateway.request import KEY_BYTES_MAX, Request
from topics import commands
from topics.log import LogError
from topics.objects import Preconditions

KEYS_MAX = 1000  # S3
_OF_DIRECTORY_BUCKETS = ("x-amz-if-match-last-modified-time", "x-amz-if-match-size")  # conditions: not to be passed over
ELEMENTS_MAX = 6 * KEYS_MAX + 10  # an entry has at most six: its key, its version, what it is on condition of


async def delete_object(gateway: Gateway, request: Request) -> Response:
    await gateway.bucket(request)
    if wanted_version(request) not in ("", "null"):
        return Response(204)  # no such version: nothing to delete, as S3 answers
    for header in _OF_DIRECTORY_BUCKETS:
        if header in request.headers:
            raise S3Error("NotImplemented", Header=header)
    command = commands.DeleteObject(request.bucket, request.key, attributes.preconditions(request))
    await gateway.commander.submit(request.id, request.principal, command)
    return Response(204)


async def delete_objects(gateway: Gateway, request: Request) -> Response:
    await gateway.bucket(request)
    headers = request.headers
    if "content-md5" not in headers and not any(
        name.startswith(("x-amz-checksum-", "x-amz-sdk-checksum", "x-amz-trailer")) for name in headers
    ):
        raise S3Error("InvalidRequest", "Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
    tree = xml.parse(await Body(request).whole(xml.BODY_BYTES_MAX), "Delete", ELEMENTS_MAX)
    wanted = tree.findall("Object")
    if not 1 <= len(wanted) <= KEYS_MAX or not all(xml.child(each, "Key") for each in wanted):
        raise S3Error("MalformedXML")  # before any of them is deleted
    is_quiet = (xml.child(tree, "Quiet") or "").strip().lower() == "true"
    rows = await asyncio.gather(*(_delete(gateway, request, number, each) for number, each in enumerate(wanted)))
    shown = [row for row in rows if not (is_quiet and row.startswith("<Deleted>"))]
    return xml_response(xml.document("DeleteResult", shown))


async def _delete(gateway: Gateway, request: Request, number: int, wanted: Element) -> str:
    key = xml.child(wanted, "Key") or ""
    version = xml.child(wanted, "VersionId")
    shown = [xml.text("Key", key)] + ([xml.text("VersionId", version)] if version else [])
    try:
        if version is not None:
            check_version(version)
        if xml.child(wanted, "LastModifiedTime") is not None or xml.child(wanted, "Size") is not None:
            raise S3Error("NotImplemented")  # conditions that S3 has for directory buckets only
        if version not in (None, "null", ""):
            return xml.element("Deleted", shown)
        if len(key.encode()) > KEY_BYTES_MAX:
            raise S3Error("KeyTooLongError")
        condition = Preconditions(attributes.condition(xml.child(wanted, "ETag")))
        command = commands.DeleteObject(request.bucket, key, condition)
        await gateway.commander.submit(f"{request.id}-{number}", request.principal, command)
    except (S3Error, LogError) as error:
        failure = as_s3_error(error)
        return xml.element("Error", [*shown, xml.text("Code", failure.code), xml.text("Message", failure.message)])
    return xml.element("Deleted", shown)
