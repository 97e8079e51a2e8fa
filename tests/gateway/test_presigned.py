"""Presigned URLs and version 2 clients against a running store."""

import http.client
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.bucketlog.http import get
from tests.server import ACCESS_KEY, REGION, SECRET_KEY, Server


def put(server: Server, url: str, body: bytes = b"x", content_type: str = "") -> tuple[int, bytes]:
    """(status, body) of a PUT to a URL, with no header beside this one."""
    target = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    try:
        connection.request(
            "PUT", f"{target.path}?{target.query}", body, {"content-type": content_type} if content_type else {}
        )
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def presigned(server: Server, path: str, query: dict[str, str]) -> str:
    """A URL as SDKs make it that move headers into the query."""
    aws = AWSRequest("PUT", f"{server.endpoint}/{path}?{urllib.parse.urlencode(query, quote_via=urllib.parse.quote)}", {})
    S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION, expires=60).add_auth(aws)
    return str(aws.url)


def test_headers_may_stand_in_the_query(server: Server, s3: Any, bucket: str) -> None:
    query = {"x-amz-meta-colour": "röt", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY", "x-id": "PutObject"}
    assert put(server, presigned(server, f"{bucket}/k", query))[0] == 200
    found = s3.head_object(Bucket=bucket, Key="k")
    assert (found["Metadata"], found["StorageClass"]) == ({"colour": "röt"}, "REDUCED_REDUNDANCY")


def test_a_copy_may_be_presigned(server: Server, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"of the source")
    url = presigned(server, f"{bucket}/copy", {"x-amz-copy-source": f"{bucket}/source"})
    assert put(server, url, b"")[0] == 200
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"of the source"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    query = {"uploadId": upload, "partNumber": "1", "x-amz-copy-source": f"{bucket}/source"}
    assert put(server, presigned(server, f"{bucket}/m", query), b"")[0] == 200
    (part,) = s3.list_parts(Bucket=bucket, Key="m", UploadId=upload)["Parts"]
    assert part["Size"] == len(b"of the source")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"x-amz-checksum-sha256": "AAAA"}, b"InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, b"BadDigest"),
        ({"x-amz-server-side-encryption": "aws:kms"}, b"NotImplemented"),
        ({"x-amz-storage-class": "COLD"}, b"InvalidStorageClass"),
        ({"x-amz-content-sha256": "0" * 64}, b"SignatureDoesNotMatch"),
        ({"x-amz-meta-a": "1\r\nx-evil: 2"}, b"InvalidArgument"),
    ],
)
def test_what_stands_in_the_query_is_never_passed_over(
    server: Server, s3: Any, bucket: str, query: dict[str, str], code: bytes
) -> None:
    status, body = put(server, presigned(server, f"{bucket}/k", query))
    assert status >= 400
    assert b"<Code>" + code + b"</Code>" in body
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_boto3s_default_url_carries_what_was_asked_for(server: Server, s3: Any, bucket: str) -> None:
    wanted = {"Bucket": bucket, "Key": "k", "ContentType": "image/png", "Metadata": {"a": "b"}}
    url = server.client(signature_version="s3").generate_presigned_url("put_object", Params=wanted)
    assert put(server, url)[0] == 200
    found = s3.head_object(Bucket=bucket, Key="k")
    assert (found["ContentType"], found["Metadata"]) == ("image/png", {"a": "b"})
    assert put(server, url, content_type="text/plain")[0] == 403


def test_a_client_of_version_2(server: Server, bucket: str) -> None:
    old = server.client(signature_version="s3")
    old.put_object(Bucket=bucket, Key="a b", Body=b"data", Metadata={"b": "2", "a": "1"}, ContentType="text/plain")
    assert old.get_object(Bucket=bucket, Key="a b")["Body"].read() == b"data"
    assert [each["Key"] for each in old.list_objects_v2(Bucket=bucket, Prefix="a")["Contents"]] == ["a b"]
    upload = old.create_multipart_upload(Bucket=bucket, Key="m")["UploadId"]
    part = old.upload_part(Bucket=bucket, Key="m", UploadId=upload, PartNumber=1, Body=b"part")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    old.complete_multipart_upload(Bucket=bucket, Key="m", UploadId=upload, MultipartUpload=parts)
    old.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/m")
    assert old.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    old.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a b"}, {"Key": "m"}, {"Key": "c"}]})
    old.delete_bucket(Bucket=bucket)
    assert bucket not in [each["Name"] for each in old.list_buckets()["Buckets"]]


def test_a_deletion_that_was_signed_of_a_bucket_deletes_no_configuration(server: Server, s3: Any, bucket: str) -> None:
    url = server.client(signature_version="s3").generate_presigned_url("delete_bucket", Params={"Bucket": bucket})
    target = urllib.parse.urlsplit(url)
    for more in ("encryption=", "cors", "publicAccessBlock"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("DELETE", f"{target.path}?{target.query}&{more}")
        assert connection.getresponse().status == 403
        connection.close()
    s3.head_bucket(Bucket=bucket)


def test_operators_paths_take_no_version_2(server: Server) -> None:
    signer = server.client(signature_version="s3")
    for path in ("status", "events"):
        url = signer.generate_presigned_url("get_object", Params={"Bucket": "-", "Key": path})
        assert get(url)[0] == 400


def test_version_2_can_be_turned_off(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", env={"BUCKETLOG_SIGNATURE_V2": "false"}).start()
    new, old = server.client(), server.client(signature_version="s3")
    new.create_bucket(Bucket="bucket")
    with pytest.raises(ClientError, match="InvalidRequest"):
        old.list_buckets()
    assert get(old.generate_presigned_url("list_objects", Params={"Bucket": "bucket"}))[0] == 400
    signer = server.client(signature_version="s3v4")
    assert get(signer.generate_presigned_url("list_objects", Params={"Bucket": "bucket"}))[0] == 200
    assert server.stop() == 0
