"""Bucket operations: ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation, GetBucketVersioning."""

import re
import uuid

from gateway import xml
from gateway.attributes import check_acl
from gateway.body import Body
from gateway.context import Gateway, Response, xml_response
from gateway.errors import S3Error
from gateway.listing import from_token, to_token
from gateway.request import Request, is_bucket_name
from topics import commands

DEFAULT_REGION = "us-east-1"
_REGION = re.compile(r"EU|[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}")  # as AWS names its regions


async def list_buckets(gateway: Gateway, request: Request) -> Response:
    prefix, token = request.query.get("prefix", ""), request.query.get("continuation-token")
    after = "" if token is None else from_token(token)
    region = request.query.get("bucket-region", "")
    limit = request.integer("max-buckets", 10_000, 1, 10_000)
    found = [
        (name, row)
        for name, row in await gateway.reads.buckets()
        if row.owner == request.principal and name.startswith(prefix) and name > after and region in ("", row.region)
    ]
    rows = [
        xml.element(
            "Bucket",
            [
                xml.text("Name", name),
                xml.text("CreationDate", xml.timestamp(row.created_ms)),
                xml.text("BucketRegion", row.region),
            ],
        )
        for name, row in found[:limit]
    ]
    parts = [xml.owner("Owner", request.principal), xml.element("Buckets", rows)]
    if prefix:
        parts.append(xml.text("Prefix", prefix))
    if len(found) > limit:
        parts.append(xml.text("ContinuationToken", to_token(found[limit - 1][0])))
    return xml_response(xml.document("ListAllMyBucketsResult", parts))


async def create_bucket(gateway: Gateway, request: Request) -> Response:
    if not is_bucket_name(request.bucket):
        raise S3Error("InvalidBucketName")
    if request.headers.get("x-amz-bucket-object-lock-enabled", "").lower() == "true":
        raise S3Error("NotImplemented", "Object Lock is not implemented yet.")
    if "x-amz-acl" in request.headers:
        check_acl("x-amz-acl", request.headers["x-amz-acl"])
    await _check_configuration(gateway, request)
    body = commands.CreateBucket(request.bucket, uuid.uuid4().hex, gateway.region)
    try:
        await gateway.commander.submit(request.id, request.principal, body)
    except S3Error as error:
        # S3 in us-east-1 answers an owner's second creation with success
        if error.code != "BucketAlreadyOwnedByYou" or gateway.region != DEFAULT_REGION:
            raise
    return Response(200, [("location", f"/{request.bucket}")])


async def head_bucket(gateway: Gateway, request: Request) -> Response:
    bucket = await gateway.bucket(request)
    return Response(200, [("x-amz-bucket-region", bucket.region), ("content-type", "application/xml")])


async def delete_bucket(gateway: Gateway, request: Request) -> Response:
    await gateway.bucket(request)
    await gateway.commander.submit(request.id, request.principal, commands.DeleteBucket(request.bucket))
    return Response(204)


async def bucket_location(gateway: Gateway, request: Request) -> Response:
    bucket = await gateway.bucket(request)
    region = "" if bucket.region == DEFAULT_REGION else bucket.region  # as S3 says it
    return xml_response(xml.document("LocationConstraint", [region]))


async def bucket_versioning(gateway: Gateway, request: Request) -> Response:
    await gateway.bucket(request)
    return xml_response(xml.document("VersioningConfiguration", []))


async def _check_configuration(gateway: Gateway, request: Request) -> None:
    """Raises what S3 says of another region than ours, NotImplemented for what would silently be lost."""
    data = b"" if request.is_drained else await Body(request).whole(xml.BODY_BYTES_MAX)
    if not data:
        return
    wanted = xml.parse(data, "CreateBucketConfiguration")
    if wanted.find("Tags") is not None or wanted.find("Bucket") is not None or wanted.find("Location") is not None:
        raise S3Error("NotImplemented", "Tags and kinds of buckets are not implemented yet.")
    region = xml.child(wanted, "LocationConstraint")
    if not region or region == gateway.region:
        return
    if not _REGION.fullmatch(region):
        raise S3Error("InvalidLocationConstraint", LocationConstraint=region)
    message = f"The {region} location constraint is incompatible for the region specific endpoint this request was sent to."
    raise S3Error("IllegalLocationConstraintException", message)
