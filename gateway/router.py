"""Which S3 operation a request asks for: by method, by whether there is a key, by the sub-resource in the query."""

from collections.abc import Awaitable, Callable

from gateway import buckets, copy, delete, get, list, list_uploads, multipart, object_attributes, post, put, unset
from gateway.context import Gateway, Response
from gateway.errors import S3Error
from gateway.request import Request

Operation = Callable[[Gateway, Request], Awaitable[Response]]

_BUCKET: dict[tuple[str, str], Operation] = {
    ("PUT", ""): buckets.create_bucket,
    ("HEAD", ""): buckets.head_bucket,
    ("DELETE", ""): buckets.delete_bucket,
    ("GET", ""): list.list_objects,
    ("GET", "list-type"): list.list_objects_v2,
    ("GET", "versions"): list.list_versions,
    ("GET", "location"): buckets.bucket_location,
    ("GET", "versioning"): buckets.bucket_versioning,
    ("GET", "uploads"): list_uploads.list_uploads,
    ("POST", ""): post.post_object,
    ("POST", "delete"): delete.delete_objects,
    ("GET", "acl"): unset.get_acl,
    ("PUT", "acl"): unset.put_acl,
    **{("GET", name): unset.get_configuration for name in unset.CONFIGURATIONS},
    **{("DELETE", name): unset.delete_configuration for name in unset.DELETABLE},
}
_OBJECT: dict[tuple[str, str], Operation] = {
    ("PUT", ""): put.put_object,
    ("GET", ""): get.get_object,
    ("HEAD", ""): get.head_object,
    ("DELETE", ""): delete.delete_object,
    ("POST", "uploads"): multipart.create_upload,
    ("PUT", "uploadId"): multipart.upload_part,
    ("POST", "uploadId"): multipart.complete_upload,
    ("DELETE", "uploadId"): multipart.abort_upload,
    ("GET", "uploadId"): list_uploads.list_parts,
    ("GET", "attributes"): object_attributes.get_object_attributes,
    ("GET", "acl"): unset.get_acl,
    ("PUT", "acl"): unset.put_acl,
    ("GET", "tagging"): unset.get_object_tags,
    ("DELETE", "tagging"): unset.delete_configuration,
    **{(method, name): unset.object_lock for method in ("GET", "PUT") for name in ("legal-hold", "retention")},
}
_SUBRESOURCES = (  # of the S3 API, known or not: one that is not in the tables above must never be passed over
    "abac", "accelerate", "acl", "analytics", "attributes", "cors", "delete", "encryption", "intelligent-tiering",
    "inventory", "legal-hold", "lifecycle", "list-type", "location", "logging", "metadataConfiguration",
    "metadataTable", "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus",
    "publicAccessBlock", "renameObject", "replication", "requestPayment", "restore", "retention", "select",
    "session", "tagging", "torrent", "uploadId", "uploads", "versioning", "versions", "website",
)  # fmt: skip


def route(request: Request) -> Operation:
    """Raises MethodNotAllowed."""
    subresource = next((name for name in _SUBRESOURCES if name in request.query), "") if request.query else ""
    if not request.bucket:
        if request.method == "GET" and not subresource:
            return buckets.list_buckets
        raise S3Error("MethodNotAllowed")
    if request.key and request.method == "PUT" and not subresource and "x-amz-copy-source" in request.headers:
        return copy.copy_object
    found = (_OBJECT if request.key else _BUCKET).get((request.method, subresource))
    if found is None:
        known = request.method in ("GET", "PUT", "HEAD", "DELETE", "POST")
        if not (subresource and known):
            raise S3Error("MethodNotAllowed")
        return unset.not_implemented
    return found
