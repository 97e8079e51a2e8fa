"""Configurations that no bucket or object has yet: reading one gives what S3 says where there is none, an ACL its default.

What cannot be set is answered NotImplemented, but only for a bucket and key that exist: their absence is told first.
"""

from gateway import xml
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
_SCHEMA = "http://www.w3.org/2001/XMLSchema-instance"


async def get_configuration(gateway: Gateway, request: Request) -> Response:
    await gateway.bucket(request)
    name = next(name for name in CONFIGURATIONS if name in request.query)
    if name in _BUCKET_ERRORS:
        raise S3Error(_BUCKET_ERRORS[name])
    root, inside = _BUCKET_DOCUMENTS[name]
    return xml_response(xml.document(root, [inside]))


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


async def not_implemented(gateway: Gateway, request: Request) -> Response:
    await gateway.bucket(request)
    raise S3Error("NotImplemented")
