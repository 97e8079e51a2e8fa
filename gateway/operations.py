"""What is implemented of S3, one row an operation: its name in S3's model and who carries it out.

The router finds operations by S3's model; one that has no row here is answered NotImplemented.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from gateway import (
    buckets,
    configurations,
    copy,
    cors,
    delete,
    get,
    list_uploads,
    listing,
    multipart,
    object_attributes,
    post,
    put,
)
from gateway.context import Gateway, Response
from gateway.request import Request

Handler = Callable[[Gateway, Request], Awaitable[Response]]


class Operation(NamedTuple):
    name: str
    handler: Handler
    is_signed: bool = True  # in its head; else the handler sees to who asks


CREATE_BUCKET = Operation("CreateBucket", buckets.create_bucket)
# what browsers send, and S3's model does not have: a form, which is signed among its fields, and the question before
POST_OBJECT = Operation("PostObject", post.post_object, is_signed=False)
PREFLIGHT = Operation("Preflight", cors.preflight, is_signed=False)

OPERATIONS = (
    Operation("ListBuckets", buckets.list_buckets),
    CREATE_BUCKET,
    Operation("HeadBucket", buckets.head_bucket),
    Operation("DeleteBucket", buckets.delete_bucket),
    Operation("GetBucketLocation", buckets.bucket_location),
    Operation("GetBucketVersioning", buckets.bucket_versioning),
    Operation("ListObjects", listing.list_objects),
    Operation("ListObjectsV2", listing.list_objects_v2),
    Operation("ListObjectVersions", listing.list_versions),
    POST_OBJECT,
    PREFLIGHT,
    Operation("PutObject", put.put_object),
    Operation("CopyObject", copy.copy_object),
    Operation("GetObject", get.get_object),
    Operation("HeadObject", get.head_object),
    Operation("GetObjectAttributes", object_attributes.get_object_attributes),
    Operation("DeleteObject", delete.delete_object),
    Operation("DeleteObjects", delete.delete_objects),
    Operation("CreateMultipartUpload", multipart.create_upload),
    Operation("UploadPart", multipart.upload_part),
    Operation("UploadPartCopy", multipart.upload_part_copy),
    Operation("CompleteMultipartUpload", multipart.complete_upload),
    Operation("AbortMultipartUpload", multipart.abort_upload),
    Operation("ListMultipartUploads", list_uploads.list_uploads),
    Operation("ListParts", list_uploads.list_parts),
    Operation("GetBucketAcl", configurations.get_acl),
    Operation("PutBucketAcl", configurations.put_acl),
    Operation("GetObjectAcl", configurations.get_acl),
    Operation("PutObjectAcl", configurations.put_acl),
    Operation("GetObjectTagging", configurations.get_object_tags),
    Operation("DeleteObjectTagging", configurations.delete_configuration),
    Operation("GetObjectLegalHold", configurations.object_lock),
    Operation("PutObjectLegalHold", configurations.object_lock),
    Operation("GetObjectRetention", configurations.object_lock),
    Operation("PutObjectRetention", configurations.object_lock),
    Operation("GetBucketCors", configurations.absent("NoSuchCORSConfiguration")),
    Operation("GetBucketEncryption", configurations.absent("ServerSideEncryptionConfigurationNotFoundError")),
    Operation("GetBucketLifecycle", configurations.absent("NoSuchLifecycleConfiguration")),
    Operation("GetBucketLifecycleConfiguration", configurations.absent("NoSuchLifecycleConfiguration")),
    Operation("GetObjectLockConfiguration", configurations.absent("ObjectLockConfigurationNotFoundError")),
    Operation("GetBucketOwnershipControls", configurations.absent("OwnershipControlsNotFoundError")),
    Operation("GetBucketPolicy", configurations.absent("NoSuchBucketPolicy")),
    Operation("GetBucketPolicyStatus", configurations.absent("NoSuchBucketPolicy")),
    Operation("GetPublicAccessBlock", configurations.absent("NoSuchPublicAccessBlockConfiguration")),
    Operation("GetBucketReplication", configurations.absent("ReplicationConfigurationNotFoundError")),
    Operation("GetBucketTagging", configurations.absent("NoSuchTagSet")),
    Operation("GetBucketWebsite", configurations.absent("NoSuchWebsiteConfiguration")),
    Operation("GetBucketAccelerateConfiguration", configurations.empty("AccelerateConfiguration")),
    Operation("GetBucketLogging", configurations.empty("BucketLoggingStatus")),
    Operation("GetBucketNotification", configurations.empty("NotificationConfiguration")),
    Operation("GetBucketNotificationConfiguration", configurations.empty("NotificationConfiguration")),
    Operation("GetBucketRequestPayment", configurations.empty("RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>")),
    Operation("DeleteBucketCors", configurations.delete_configuration),
    Operation("DeleteBucketEncryption", configurations.delete_configuration),
    Operation("DeleteBucketLifecycle", configurations.delete_configuration),
    Operation("DeleteBucketOwnershipControls", configurations.delete_configuration),
    Operation("DeleteBucketPolicy", configurations.delete_configuration),
    Operation("DeletePublicAccessBlock", configurations.delete_configuration),
    Operation("DeleteBucketReplication", configurations.delete_configuration),
    Operation("DeleteBucketTagging", configurations.delete_configuration),
    Operation("DeleteBucketWebsite", configurations.delete_configuration),
    # not implemented either, but that there is no such object is told first
    Operation("GetObjectTorrent", configurations.not_implemented_of_object),
    Operation("PutObjectTagging", configurations.not_implemented_of_object),
    Operation("RestoreObject", configurations.not_implemented_of_object),
    Operation("SelectObjectContent", configurations.not_implemented_of_object),
)
