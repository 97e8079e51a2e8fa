"""Configurations that no bucket or object has yet: reading one gives what S3 says where there is none, an ACL its default;
deleting one is done before it begins.

What cannot be set is answered NotImplemented, but only for a bucket that exists: its absence is told first.
"""

from collections.abc import Awaitable, Callable

from gateway import attributes, xml
from gateway.context import Gateway, Response, xml_response
from gateway.errors import S3Error
from gateway.request import Request

Handler = Callable[[Gateway, Request], Awaitable[Response]]
_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"


def absent(code: str) -> Handler:
    """Reads a configuration of a bucket whose absence has an error of its own."""

    async def get_configuration(gateway: Gateway, request: Request) -> Response:
        await gateway.bucket(request)
        raise S3Error(code)

    return get_configuration


def empty(root: str, inside: str = "") -> Handler:
    """Reads a configuration of a bucket that has a document even where nothing was set."""

    async def get_configuration(gateway: Gateway, request: Request) -> Response:
        await gateway.bucket(request)
        return xml_response(xml.document(root, [inside]))

    return get_configuration


async def delete_configuration(gateway: Gateway, request: Request) -> Response:
    """DeleteBucketPolicy and its like, DeleteObjectTagging: S3 answers the same whether there was one."""
    await (gateway.object(request) if request.key else gateway.bucket(request))
    return Response(204)


async def get_object_tags(gateway: Gateway, request: Request) -> Response:
    await gateway.object(request)
    return xml_response(xml.document("Tagging", ["<TagSet></TagSet>"]))


async def get_acl(gateway: Gateway, request: Request) -> Response:
    """GetBucketAcl, GetObjectAcl: the owner may do everything, nobody else anything."""
    bucket = await gateway.bucket(request)
    if request.key:
        await gateway.object(request)
    grantee = xml.owner("Grantee", bucket.owner).replace(
        "<Grantee>", f'<Grantee xmlns:xsi="{_SCHEMA}" xsi:type="CanonicalUser">', 1
    )
    grant = xml.element("Grant", [grantee, xml.text("Permission", "FULL_CONTROL")])
    parts = [xml.owner("Owner", bucket.owner), xml.element("AccessControlList", [grant])]
    return xml_response(xml.document("AccessControlPolicy", parts))


async def put_acl(gateway: Gateway, request: Request) -> Response:
    """PutBucketAcl, PutObjectAcl: only what is so already."""
    await (gateway.object(request) if request.key else gateway.bucket(request))
    canned = request.headers.get("x-amz-acl")
    if canned is not None:
        attributes.check_acl("x-amz-acl", canned)
    if canned not in attributes.OWNER_ONLY_ACLS or any(name.startswith("x-amz-grant-") for name in request.headers):
        raise S3Error("NotImplemented")
    return Response(200)


async def object_lock(gateway: Gateway, request: Request) -> Response:
    """GetObjectRetention, GetObjectLegalHold and their PUTs in a bucket without Object Lock, as all are."""
    await gateway.object(request)
    raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")


async def not_implemented(gateway: Gateway, request: Request) -> Response:
    await gateway.bucket(request)
    raise S3Error("NotImplemented")


async def not_implemented_of_object(gateway: Gateway, request: Request) -> Response:
    await gateway.object(request)
    raise S3Error("NotImplemented")
