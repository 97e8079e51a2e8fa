"""What a refusal tells: what failed in S3's words, and which request and process it was, understood or not."""

import asyncio
import logging
import re
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gateway import context
from gateway.app import S3App
from gateway.error_document import HOST_ID, error_response
from gateway.errors import S3Error
from gateway.tally import ACCESS
from tests.gateway.requests import Keys, receive_from, request

BUCKET_ERRORS = ["NoSuchBucket", "BucketNotEmpty", "BucketAlreadyExists", "NoSuchTagSet", "NoSuchLifecycleConfiguration"]


def told(error: S3Error, method: str = "GET", url: str = "/b/k") -> dict[str, str]:
    body = error_response(error, request(method, url)).body
    assert isinstance(body, bytes)
    return dict(re.findall(r"<(\w[\w-]*)>([^<]+)</", body.decode()))


@pytest.mark.parametrize("code", BUCKET_ERRORS)
def test_what_is_amiss_with_a_bucket_names_it(code: str) -> None:
    assert told(S3Error(code), url="/photos?tagging")["BucketName"] == "photos"


@pytest.mark.parametrize(
    ("code", "method", "url", "details"),
    [
        ("NoSuchKey", "GET", "/b/a/b", {"Key": "a/b"}),
        ("NoSuchVersion", "GET", "/b/a?versionId=v", {"Key": "a", "VersionId": "v"}),
        ("NoSuchUpload", "PUT", "/b/a?uploadId=u&partNumber=1", {"UploadId": "u"}),
        ("MethodNotAllowed", "POST", "/", {"Method": "POST", "ResourceType": "SERVICE"}),
        ("MethodNotAllowed", "PATCH", "/b", {"Method": "PATCH", "ResourceType": "BUCKET"}),
        ("MethodNotAllowed", "PATCH", "/b/k", {"Method": "PATCH", "ResourceType": "OBJECT"}),
    ],
)
def test_what_the_address_says_is_told(code: str, method: str, url: str, details: dict[str, str]) -> None:
    found = told(S3Error(code), method, url)
    assert found | details == found


def test_what_was_raised_with_it_is_told_and_wins_over_the_address() -> None:
    assert told(S3Error("NoSuchKey", Key="of the source"))["Key"] == "of the source"
    found = told(S3Error("InvalidRange", "", [], RangeRequested="bytes=9-", ActualObjectSize=5))
    assert (found["RangeRequested"], found["ActualObjectSize"]) == ("bytes=9-", "5")


def test_a_refusal_names_request_and_process() -> None:
    asked = request("GET", "/b/a%26b")
    body = error_response(S3Error("AccessDenied"), asked).body
    assert (
        body
        == (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message>'
            f"<Resource>/b/a&amp;b</Resource><RequestId>{asked.id}</RequestId><HostId>{HOST_ID}</HostId></Error>"
        ).encode()
    )
    assert error_response(S3Error("AccessDenied"), request("HEAD", "/b")).body == b""


def ask(url: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, dict[str, str], bytes]:
    """The answer of a gateway that can read nothing: (status, headers, body)."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    nothing: Any = None
    made = context.Gateway(nothing, nothing, nothing, Keys(), "us-east-1", logs_access=True)
    path, _, query = url.partition("?")
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode()}
    asyncio.run(S3App(made)({**scope, "headers": headers}, receive_from([]), send))
    start, body = messages
    return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body["body"]


@pytest.mark.parametrize(
    ("url", "headers", "code"),
    [
        ("/b/%ff", [], "InvalidURI"),
        ("/b/a%00", [], "InvalidURI"),
        ("/b/../x", [], "InvalidURI"),
        ("/b?prefix=%ff", [], "InvalidURI"),
        (f"/b/{'k' * 1025}", [], "KeyTooLongError"),
        ("/b/k", [(b"a", b"x" * (17 << 10))], "RequestHeaderSectionTooLarge"),
        ("/", [], "AccessDenied"),
    ],
)
def test_who_is_not_understood_is_told_so_like_anybody(
    url: str, headers: list[tuple[bytes, bytes]], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, ACCESS):
        _, answered, body = ask(url, headers)
    found = dict(re.findall(r"<(\w+)>([^<]*)</", body.decode()))
    assert found["Code"] == code
    assert found["RequestId"] == answered["x-amz-request-id"]
    assert re.fullmatch("[0-9A-F]{16}", found["RequestId"])
    assert found["HostId"] == answered["x-amz-id-2"]
    assert found["Resource"].startswith("/")
    (line,) = [record for record in caplog.records if record.name == ACCESS]
    assert (line.__dict__["status"], line.__dict__["path"]) == (400 if code != "AccessDenied" else 403, found["Resource"])


def refusal(call: Any, **arguments: Any) -> Any:
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value.response["Error"]


def test_a_condition_that_does_not_hold_is_named(s3: Any, bucket: str) -> None:
    at = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**at, Body=b"0123456789")
    upload = s3.create_multipart_upload(**at)["UploadId"]
    part = s3.upload_part(**at, UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    copied = {"Bucket": bucket, "Key": "other", "CopySource": f"{bucket}/k"}
    for call, arguments, condition in [
        (s3.put_object, {**at, "IfNoneMatch": "*"}, "If-None-Match"),
        (s3.put_object, {**at, "IfMatch": '"0"'}, "If-Match"),
        (s3.get_object, {**at, "IfMatch": '"0"'}, "If-Match"),
        (s3.get_object, {**at, "IfUnmodifiedSince": "2020-01-01T00:00:00Z"}, "If-Unmodified-Since"),
        (s3.delete_object, {**at, "IfMatch": '"0"'}, "If-Match"),
        (s3.copy_object, {**copied, "CopySourceIfMatch": '"0"'}, "x-amz-copy-source-If-Match"),
        (
            s3.complete_multipart_upload,
            {**at, "UploadId": upload, "MultipartUpload": parts, "IfNoneMatch": "*"},
            "If-None-Match",
        ),
    ]:
        found = refusal(call, **arguments)
        assert (found["Code"], found["Condition"]) == ("PreconditionFailed", condition)
        assert found["Message"] == "At least one of the pre-conditions you specified did not hold"


def test_numbers_that_do_not_fit_are_told(s3: Any, bucket: str) -> None:
    at = {"Bucket": bucket, "Key": "k"}
    s3.put_object(**at, Body=b"0123456789")
    found = refusal(s3.get_object, **at, Range="bytes=100-200")
    assert (found["Code"], found["RangeRequested"], found["ActualObjectSize"]) == ("InvalidRange", "bytes=100-200", "10")
    found = refusal(s3.get_object, **at, PartNumber=2)
    assert (found["Code"], found["ActualPartCount"], found["PartNumberRequested"]) == ("InvalidPartNumber", "1", "2")
    upload = s3.create_multipart_upload(**at)["UploadId"]
    wanted = {"Parts": [{"PartNumber": 7, "ETag": '"0"'}]}
    found = refusal(s3.complete_multipart_upload, **at, UploadId=upload, MultipartUpload=wanted)
    assert (found["Code"], found["UploadId"], found["PartNumber"], found["ETag"]) == ("InvalidPart", upload, "7", "0")


def test_what_is_not_there_is_named(s3: Any, bucket: str) -> None:
    assert refusal(s3.get_object, Bucket=bucket, Key="a/b")["Key"] == "a/b"
    assert refusal(s3.list_objects_v2, Bucket="no-such-bucket")["BucketName"] == "no-such-bucket"
    assert refusal(s3.copy_object, Bucket=bucket, Key="k", CopySource="no-such-source/k")["BucketName"] == "no-such-source"
    assert refusal(s3.copy_object, Bucket=bucket, Key="k", CopySource=f"{bucket}/none")["Key"] == "none"
    assert refusal(s3.list_parts, Bucket=bucket, Key="k", UploadId="nobody's")["UploadId"] == "nobody's"
    assert refusal(s3.delete_object, Bucket=bucket, Key="k", IfMatch="*")["Key"] == "k"
