"""What a client sees of one operation after another, by boto3 against a running store."""

import base64
import hashlib
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gateway import checksums
from tests.server import Server

KEYS = ["plain", "with space", "ünï/çødé", "per%cent", "a+b", "/leading", "a//b", "k" * 1024, "tab\tnewline\n", "<&>'\""]


@pytest.mark.parametrize("key", KEYS)
def test_unusual_keys(s3: Any, bucket: str, key: str) -> None:
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"x"
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_lists_2500_keys_in_order_with_prefixes(s3: Any, bucket: str) -> None:
    names = sorted(f"{number % 5}/{number:04}" for number in range(2500))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: s3.put_object(Bucket=bucket, Key=name, Body=b""), names))
    pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket))
    assert [row["Key"] for page in pages for row in page["Contents"]] == names
    assert [len(page["Contents"]) for page in pages] == [1000, 1000, 500]
    empty = s3.list_objects_v2(Bucket=bucket, ContinuationToken="")
    assert (empty["ContinuationToken"], empty["Contents"]) == ("", pages[0]["Contents"])
    grouped = s3.list_objects(Bucket=bucket, Delimiter="/", MaxKeys=3)
    assert [each["Prefix"] for each in grouped["CommonPrefixes"]] == ["0/", "1/", "2/"]
    rest = s3.list_objects(Bucket=bucket, Delimiter="/", Marker=grouped["NextMarker"])
    assert [each["Prefix"] for each in rest["CommonPrefixes"]] == ["3/", "4/"]


@pytest.mark.parametrize(
    ("asked", "got"),
    [("bytes=0-0", b"0"), ("bytes=2-4", b"234"), ("bytes=-3", b"789"), ("bytes=7-99", b"789"), ("x", None)],
)
def test_ranges(s3: Any, bucket: str, asked: str, got: bytes | None) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    answer = s3.get_object(Bucket=bucket, Key="k", Range=asked)
    assert answer["Body"].read() == (got or b"0123456789")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == (206 if got else 200)


def test_conditional_writes_and_reads(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    assert etag == f'"{hashlib.md5(b"1").hexdigest()}"'
    failing: list[tuple[int, Callable[[], object]]] = [
        (412, lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")),
        (412, lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch='"0"')),
        (404, lambda: s3.put_object(Bucket=bucket, Key="new", Body=b"2", IfMatch=etag)),
        (412, lambda: s3.get_object(Bucket=bucket, Key="k", IfMatch='"0"')),
        (304, lambda: s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=etag)),
    ]
    for status, call in failing:
        with pytest.raises(ClientError) as caught:
            call()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"2"


def summed(algorithm: str, data: bytes) -> dict[str, str]:
    """Has botocore compute a checksum, where it can."""
    if algorithm != "MD5":
        return {"ChecksumAlgorithm": algorithm}
    return {"ChecksumMD5": base64.b64encode(hashlib.md5(data).digest()).decode()}


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_checksums_of_objects_and_uploads(s3: Any, bucket: str, algorithm: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"data", **summed(algorithm, b"data"))
    read = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert read[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", ChecksumAlgorithm=algorithm)["UploadId"]
    parts = []
    for number, data in enumerate([b"a" * (5 << 20), b"b"], 1):
        done = s3.upload_part(
            Bucket=bucket, Key="m", UploadId=upload, PartNumber=number, Body=data, **summed(algorithm, data)
        )
        parts.append({"PartNumber": number, "ETag": done["ETag"], f"Checksum{algorithm}": done[f"Checksum{algorithm}"]})
    for wrong in ("", parts[1][f"Checksum{algorithm}"]):
        other = [{**parts[0], f"Checksum{algorithm}": wrong}, parts[1]]
        with pytest.raises(ClientError, match=r"InvalidPart|MalformedXML"):
            s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": other})
    done = s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": parts})
    again = s3.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload={"Parts": parts})
    assert done["ETag"] == again["ETag"]
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == b"a" * (5 << 20) + b"b"
    head = s3.head_object(Bucket=bucket, Key="m", ChecksumMode="ENABLED")
    assert head[f"Checksum{algorithm}"] == done[f"Checksum{algorithm}"]
    assert head["ChecksumType"] == ("FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")
    known = s3.get_object_attributes(Bucket=bucket, Key="m", ObjectAttributes=["Checksum", "ObjectParts"])
    assert known["Checksum"][f"Checksum{algorithm}"] == done[f"Checksum{algorithm}"]
    shown = [each[f"Checksum{algorithm}"] for each in known["ObjectParts"]["Parts"]]
    assert shown == [each[f"Checksum{algorithm}"] for each in parts]


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_a_wrong_checksum_stores_nothing(s3: Any, bucket: str, algorithm: str) -> None:
    digest = checksums.new(algorithm)
    digest.update(b"other")
    wrong = base64.b64encode(digest.digest()).decode()
    with pytest.raises(ClientError, match="BadDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"data", **{f"Checksum{algorithm}": wrong})
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_which_types_of_checksum_an_upload_may_have(s3: Any, bucket: str, algorithm: str) -> None:
    """S3 User Guide, "Checking object integrity": only CRCs of parts can be combined into that of the whole."""
    allowed = {"FULL_OBJECT"} if algorithm == "CRC64NVME" else {"COMPOSITE"}
    if algorithm in ("CRC32", "CRC32C"):
        allowed.add("FULL_OBJECT")
    for kind in ("FULL_OBJECT", "COMPOSITE"):
        wanted = {"Bucket": bucket, "Key": "m", "ChecksumAlgorithm": algorithm, "ChecksumType": kind}
        if kind in allowed:
            assert s3.create_multipart_upload(**wanted)["ChecksumType"] == kind
        else:
            with pytest.raises(ClientError, match="InvalidRequest"):
                s3.create_multipart_upload(**wanted)


@pytest.mark.parametrize(
    ("code", "status", "operation", "arguments"),
    [
        ("NoSuchBucket", 404, "list_objects_v2", {"Bucket": "no-such-bucket"}),
        ("NoSuchKey", 404, "get_object", {"Key": "missing"}),
        ("InvalidBucketName", 400, "create_bucket", {"Bucket": "photos--at--20260101"}),
        ("BadDigest", 400, "put_object", {"Key": "k", "Body": b"x", "ContentMD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}),
        ("InvalidDigest", 400, "put_object", {"Key": "k", "Body": b"x", "ContentMD5": "short"}),
        ("NoSuchUpload", 404, "list_parts", {"Key": "k", "UploadId": "none"}),
        ("KeyTooLongError", 400, "put_object", {"Key": "k" * 1025, "Body": b""}),
        ("InvalidArgument", 400, "copy_object", {"Key": "k", "CopySource": "nokey"}),
        ("NotImplemented", 501, "put_bucket_website", {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "i"}}}),
    ],
)
def test_errors(s3: Any, bucket: str, code: str, status: int, operation: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(s3, operation)(**{"Bucket": bucket, **arguments})
    assert caught.value.response["Error"]["Code"] == code
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_a_deletion_with_one_mistake_deletes_nothing(server: Server, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    careless = server.client(parameter_validation=False)
    with pytest.raises(ClientError, match="MalformedXML"):
        careless.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}, {"Key": ""}]})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


@pytest.mark.parametrize("asked", ["bytes=0-90", "bytes=0-10", "bytes=5-", "bytes=-5", "0-4", "bytes=10-12"])
def test_a_part_is_copied_from_a_range_inside_of_its_source_only(s3: Any, bucket: str, asked: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = {"Bucket": bucket, "Key": "m", "UploadId": upload, "PartNumber": 1, "CopySource": f"{bucket}/k"}
    assert s3.upload_part_copy(**part, CopySourceRange="bytes=0-9")["CopyPartResult"]["ETag"]
    with pytest.raises(ClientError, match=r"InvalidArgument|InvalidRange"):
        s3.upload_part_copy(**part, CopySourceRange=asked)


def test_a_client_that_breaks_off_leaves_nothing(server: Server, s3: Any, bucket: str) -> None:
    url = urllib.parse.urlsplit(
        server.client(signature_version="s3v4").generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 9000000\r\n\r\n"
        connection.sendall(head.encode() + bytes(3_000_000))
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_presigned_urls_of_both_signatures(server: Server, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a b", Body=b"x")
    for version in ("s3v4", "s3"):
        signer = server.client(signature_version=version)
        url = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"})
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == b"x"
        with urllib.request.urlopen(signer.generate_presigned_url("list_objects_v2", Params={"Bucket": bucket})) as answer:
            assert b"<KeyCount>1</KeyCount>" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url.replace("a%20b", "other"))
