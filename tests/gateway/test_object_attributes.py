"""GetObjectAttributes, and what is read of configurations that there are not yet, by boto3."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
PART = bytes(5 << 20)


def upload(s3: Any, bucket: str, parts: list[bytes]) -> list[dict[str, Any]]:
    """The object "big" in parts; what was answered for each."""
    new = s3.create_multipart_upload(Bucket=bucket, Key="big", ChecksumAlgorithm="SHA256")["UploadId"]
    done = []
    for number, data in enumerate(parts, 1):
        answer = s3.upload_part(
            Bucket=bucket, Key="big", UploadId=new, PartNumber=number, Body=data, ChecksumAlgorithm="SHA256"
        )
        done.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": answer["ChecksumSHA256"]})
    s3.complete_multipart_upload(Bucket=bucket, Key="big", UploadId=new, MultipartUpload={"Parts": done})
    return done


def test_of_a_plain_object(s3: Any, bucket: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"abc", ChecksumAlgorithm="SHA1")
    found = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ALL)
    assert found["ETag"] == put["ETag"].strip('"')
    assert (found["ObjectSize"], found["StorageClass"]) == (3, "STANDARD")
    assert found["Checksum"] == {"ChecksumSHA1": put["ChecksumSHA1"], "ChecksumType": "FULL_OBJECT"}
    assert "ObjectParts" not in found
    assert found["LastModified"] == s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    assert set(s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"])) == {
        "ObjectSize",
        "LastModified",
        "ResponseMetadata",
    }


def test_of_an_object_in_parts(s3: Any, bucket: str) -> None:
    done = upload(s3, bucket, [PART, PART, b"end"])
    found = s3.get_object_attributes(Bucket=bucket, Key="big", ObjectAttributes=ALL)
    parts = found["ObjectParts"]
    assert [(each["PartNumber"], each["Size"]) for each in parts["Parts"]] == [(1, 5 << 20), (2, 5 << 20), (3, 3)]
    assert [each["ChecksumSHA256"] for each in parts["Parts"]] == [each["ChecksumSHA256"] for each in done]
    assert (parts["TotalPartsCount"], parts["IsTruncated"]) == (3, False)
    page = s3.get_object_attributes(Bucket=bucket, Key="big", ObjectAttributes=ALL, MaxParts=1, PartNumberMarker=1)
    parts = page["ObjectParts"]
    assert [each["PartNumber"] for each in parts["Parts"]] == [2]
    assert (parts["NextPartNumberMarker"], parts["IsTruncated"], parts["MaxParts"]) == (2, True, 1)


def test_what_is_refused(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    cases: list[tuple[str, str, str, str]] = [
        (bucket, "k", "Colour", "InvalidArgument"),
        (bucket, "none", "ETag", "NoSuchKey"),
        ("no-such-bucket-here", "k", "ETag", "NoSuchBucket"),
    ]
    for name, key, attribute, code in cases:
        with pytest.raises(ClientError) as raised:
            s3.get_object_attributes(Bucket=name, Key=key, ObjectAttributes=[attribute])
        assert raised.value.response["Error"]["Code"] == code


UNSET: list[tuple[str, str]] = [
    ("get_bucket_cors", "NoSuchCORSConfiguration"),
    ("get_bucket_encryption", "ServerSideEncryptionConfigurationNotFoundError"),
    ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
    ("get_bucket_ownership_controls", "OwnershipControlsNotFoundError"),
    ("get_bucket_policy", "NoSuchBucketPolicy"),
    ("get_bucket_policy_status", "NoSuchBucketPolicy"),
    ("get_bucket_replication", "ReplicationConfigurationNotFoundError"),
    ("get_bucket_tagging", "NoSuchTagSet"),
    ("get_bucket_website", "NoSuchWebsiteConfiguration"),
    ("get_object_lock_configuration", "ObjectLockConfigurationNotFoundError"),
    ("get_public_access_block", "NoSuchPublicAccessBlockConfiguration"),
]


@pytest.mark.parametrize(("operation", "code"), UNSET)
def test_a_configuration_that_there_is_not(s3: Any, bucket: str, operation: str, code: str) -> None:
    read: Callable[..., Any] = getattr(s3, operation)
    for name, expected in ((bucket, code), ("no-such-bucket-here", "NoSuchBucket")):
        with pytest.raises(ClientError) as raised:
            read(Bucket=name)
        assert raised.value.response["Error"]["Code"] == expected
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_documents_of_what_is_not_set(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    assert "QueueConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []


def test_the_owner_alone_may_do_everything(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    for acl in (s3.get_bucket_acl(Bucket=bucket), s3.get_object_acl(Bucket=bucket, Key="k")):
        (grant,) = acl["Grants"]
        assert grant["Permission"] == "FULL_CONTROL"
        assert grant["Grantee"]["ID"] == acl["Owner"]["ID"]
        assert grant["Grantee"]["Type"] == "CanonicalUser"
    with pytest.raises(ClientError) as raised:
        s3.get_object_acl(Bucket=bucket, Key="none")
    assert raised.value.response["Error"]["Code"] == "NoSuchKey"


def test_what_is_not_there_yet_says_so(s3: Any, bucket: str) -> None:
    for name, code in ((bucket, "NotImplemented"), ("no-such-bucket-here", "NoSuchBucket")):
        with pytest.raises(ClientError) as raised:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        assert raised.value.response["Error"]["Code"] == code
