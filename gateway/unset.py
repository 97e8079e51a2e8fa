"""Configurations that no bucket or object has yet: reading one gives what S3 says where there is none, an ACL its default;
deleting one is done before it begins.

What cannot be set is answered NotImplemented, but only for a bucket and key that exist: their absence is told first.
"""

from gateway import attributes, xml
from gateway.buckets import owner
from gateway.context import Gateway, Response, xml_response
from gateway.errors import S3Error
from gateway.request import Request

_BUCKET_ERRORS = {
    "cors": "NoSuchCORSConfiguration",
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "lifecycle": "NoSuchLifecycleConfiguration",
    "object-lock": "ObjectLockConfigurationNotFoundError",
    "ownershipControls": "OwnershipControlsNotFoundError",
    "policy": "NoSuchBucketPolicy",
    "policyStatus": "NoSuchBucketPolicy",
    "publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
    "replication": "ReplicationConfigurationNotFoundError",
    "tagging": "NoSuchTagSet",
    "website": "NoSuchWebsiteConfiguration",
}
_BUCKET_DOCUMENTS = {
    "accelerate": ("AccelerateConfiguration", ""),
    "logging": ("BucketLoggingStatus", ""),
    "notification": ("NotificationConfiguration", ""),
    "requestPayment": ("RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>"),
}
CONFIGURATIONS = (*_BUCKET_ERRORS, *_BUCKET_DOCUMENTS)  # sub-resources of GET
DELETABLE = tuple(name for name in _BUCKET_ERRORS if name not in ("object-lock", "policyStatus"))  # and of DELETE
_OF_AN_OBJECT = ("legal-hold", "restore", "retention", "select", "tagging", "torrent")
_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"


async def get_configuration(gateway: Gateway, request: Request) -> Response:
    await gateway.bucket(request)
    name = next(name for name in CONFIGURATIONS if name in request.query)
    if name in _BUCKET_ERRORS:
        raise S3Error(_BUCKET_ERRORS[name])
    root, inside = _BUCKET_DOCUMENTS[name]
    return xml_response(xml.document(root, [inside]))


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
    grantee = owner("Grantee", bucket.owner).replace(
        "<Grantee>", f'<Grantee xmlns:xsi="{_SCHEMA}" xsi:type="CanonicalUser">', 1
    )
    grant = xml.element("Grant", [grantee, xml.text("Permission", "FULL_CONTROL")])
    parts = [owner("Owner", bucket.owner), xml.element("AccessControlList", [grant])]
    return xml_response(xml.document("AccessControlPolicy", parts))


async def put_acl(gateway: Gateway, request: Request) -> Response:
    """PutBucketAcl, PutObjectAcl: only what is so already."""
    await (gateway.object(request) if request.key else gateway.bucket(request))
    canned = request.headers.get("x-amz-acl")
    if canned is not None and canned not in attributes.CANNED_ACLS:
        raise S3Error("InvalidArgument", "The canned ACL is not valid.")
    if canned not in attributes.OWNER_ONLY_ACLS or any(name.startswith("x-amz-grant-") for name in request.headers):
        raise S3Error("NotImplemented")
    return Response(200)


async def object_lock(gateway: Gateway, request: Request) -> Response:
    """GetObjectRetention, GetObjectLegalHold and their PUTs in a bucket without Object Lock, as all are."""
    await gateway.object(request)
    raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")


async def not_implemented(gateway: Gateway, request: Request) -> Response:
    of_an_object = request.key and not request.query.keys().isdisjoint(_OF_AN_OBJECT)
    await (gateway.object(request) if of_an_object else gateway.bucket(request))
    raise S3Error("NotImplemented")
