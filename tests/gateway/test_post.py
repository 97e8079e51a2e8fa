"""Forms as a browser sends them, against a running store: what is stored, answered and refused."""

import base64
import hashlib
import hmac
import http.client
import json
import re
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.gateway.forms import BOUNDARY, form, part
from tests.server import ACCESS_KEY, SECRET_KEY, Server


def send(
    server: Server, bucket: str, body: bytes, kind: str = f"multipart/form-data; boundary={BOUNDARY}"
) -> tuple[int, dict[str, str], str]:
    """(status, headers by lower-case name, body) of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    try:
        connection.request("POST", f"/{bucket}", body, {"content-type": kind})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
    finally:
        connection.close()


def refusal(answer: tuple[int, dict[str, str], str]) -> tuple[int, str]:
    found = re.search(r"<Code>(\w+)</Code>", answer[2])
    return answer[0], found[1] if found else ""


def signed(
    server: Server, bucket: str, fields: dict[str, str] | None = None, conditions: list[Any] | None = None
) -> dict[str, str]:
    """Fields as boto3 signs them: version 4."""
    given = dict(fields or {})
    key = given.pop("key", "k")
    named = [{name: value} for name, value in given.items()]
    made = server.client(signature_version="s3v4").generate_presigned_post(
        bucket, key, Fields=given, Conditions=named + (conditions or [])
    )
    found: dict[str, str] = made["fields"]
    return found


def signed_v2(bucket: str, secret: str = SECRET_KEY, **fields: str) -> dict[str, str]:
    expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 600))
    document = {"expiration": expiration, "conditions": [{"bucket": bucket}, *({name: fields[name]} for name in fields)]}
    policy = base64.b64encode(json.dumps(document).encode())
    signature = base64.b64encode(hmac.digest(secret.encode(), policy, "sha1")).decode()
    return {**fields, "AWSAccessKeyId": ACCESS_KEY, "policy": policy.decode(), "signature": signature}


def test_a_form_stores_its_file(server: Server, s3: Any, bucket: str) -> None:
    kept = {"Content-Type": "text/plain", "x-amz-meta-colour": "blue", "Cache-Control": "no-store"}
    fields = signed(server, bucket, {"acl": "private", **kept})
    status, headers, body = send(server, bucket, form(fields))
    assert (status, body) == (204, "")
    assert headers["etag"] == f'"{hashlib.md5(b"data").hexdigest()}"'
    assert headers["location"] == f"{server.endpoint}/{bucket}/k"
    found = s3.get_object(Bucket=bucket, Key="k")
    assert found["Body"].read() == b"data"
    assert (found["ContentType"], found["CacheControl"], found["Metadata"]) == (
        "text/plain",
        "no-store",
        {"colour": "blue"},
    )


def test_system_headers_of_a_form_come_back_as_they_came(server: Server, s3: Any, bucket: str) -> None:
    """Forms are UTF-8, whether Latin-1 could hold the value or not; metadata are S3's own case."""
    get = server.client(signature_version="s3v4").generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "k"}
    )
    for name in ("é", "日本"):
        wanted = f'attachment; filename="{name}"'
        fields = signed(server, bucket, {"Content-Disposition": wanted, "x-amz-meta-place": "é"})
        assert send(server, bucket, form(fields))[0] == 204
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", get.removeprefix(server.endpoint))
        found = {name.lower(): value.encode("latin-1") for name, value in connection.getresponse().getheaders()}
        connection.close()
        assert found["content-disposition"] == wanted.encode()
        assert found["x-amz-meta-place"] == "é".encode("latin-1")


@pytest.mark.parametrize("size", [0, 1, 128 << 10, (128 << 10) + 1, 8 << 20, (8 << 20) + 1, (20 << 20) + 7])
def test_files_of_all_sizes(server: Server, s3: Any, bucket: str, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"\r\n--" * 2
    data = data[len(data) - size :]
    status, headers, _ = send(server, bucket, form(signed(server, bucket), ("f", data)))
    found = s3.get_object(Bucket=bucket, Key="k")
    assert (status, found["ETag"]) == (204, headers["etag"])
    assert found["Body"].read() == data


@pytest.mark.parametrize(
    ("filename", "key"),
    [
        ("a.txt", "in/a.txt"),
        ("/home/me/a.txt", "in/a.txt"),
        (r"C:\\me\\a.txt", "in/a.txt"),
        ("ü b.txt", "in/ü b.txt"),
        ("", "in/"),
    ],
)
def test_the_key_may_have_the_files_name(server: Server, s3: Any, bucket: str, filename: str, key: str) -> None:
    fields = signed(server, bucket, {"key": "in/${filename}"})
    assert send(server, bucket, form(fields, (filename, b"x")))[0] == 204
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]


def test_what_is_answered_as_the_form_wants_it(server: Server, bucket: str) -> None:
    assert send(server, bucket, form(signed(server, bucket, {"success_action_status": "200"})))[0] == 200
    assert send(server, bucket, form(signed(server, bucket, {"success_action_status": "404"})))[0] == 204
    status, _, body = send(server, bucket, form(signed(server, bucket, {"success_action_status": "201", "key": "a b"})))
    assert status == 201
    start = '<PostResponse xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    assert (
        f"{start}<Location>{server.endpoint}/{bucket}/a%20b</Location><Bucket>{bucket}</Bucket><Key>a b</Key><ETag>" in body
    )


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("http://example.com/done", "http://example.com/done?bucket={}&key=k&etag=%22{}%22"),
        ("https://example.com/?a=b", "https://example.com/?a=b&bucket={}&key=k&etag=%22{}%22"),
    ],
)
def test_a_redirect(server: Server, bucket: str, target: str, location: str) -> None:
    status, headers, _ = send(server, bucket, form(signed(server, bucket, {"success_action_redirect": target})))
    assert status == 303
    assert headers["location"] == location.format(bucket, hashlib.md5(b"data").hexdigest())


@pytest.mark.parametrize("target", ["", "done", "javascript:alert(1)", "http://a\r\nx: y", "http://[", "//example.com"])
def test_what_is_no_place_to_redirect_to(server: Server, bucket: str, target: str) -> None:
    status, headers, _ = send(server, bucket, form(signed(server, bucket, {"success_action_redirect": target})))
    assert (status, headers["location"]) == (204, f"{server.endpoint}/{bucket}/k")


def test_signatures_of_version_2(server: Server, s3: Any, bucket: str) -> None:
    assert send(server, bucket, form(signed_v2(bucket, key="old")))[0] == 204
    assert s3.get_object(Bucket=bucket, Key="old")["Body"].read() == b"data"
    assert refusal(send(server, bucket, form(signed_v2(bucket, "wrong", key="k")))) == (403, "SignatureDoesNotMatch")
    stranger = {**signed_v2(bucket, key="k"), "AWSAccessKeyId": "stranger"}
    assert refusal(send(server, bucket, form(stranger))) == (403, "InvalidAccessKeyId")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"x-amz-signature": "0" * 64}, (403, "SignatureDoesNotMatch")),
        ({"x-amz-signature": "ü"}, (403, "SignatureDoesNotMatch")),
        ({"x-amz-signature": None}, (400, "InvalidArgument")),
        ({"x-amz-algorithm": "AWS4-HMAC-SHA1"}, (400, "InvalidArgument")),
        ({"x-amz-algorithm": None}, (400, "InvalidArgument")),
        ({"x-amz-date": "20000101T000000Z"}, (400, "InvalidArgument")),
        ({"x-amz-credential": f"{ACCESS_KEY}/20000101"}, (400, "InvalidArgument")),
        ({"x-amz-credential": "stranger/{date}/us-east-1/s3/aws4_request"}, (403, "InvalidAccessKeyId")),
        ({"policy": base64.b64encode(b"{}").decode()}, (403, "SignatureDoesNotMatch")),
        ({"policy": None}, (400, "InvalidArgument")),
        ({"policy": None, "x-amz-signature": None}, (403, "AccessDenied")),
        ({"key": "other"}, (403, "AccessDenied")),
        ({"key": None}, (403, "AccessDenied")),
        ({"x-amz-meta-more": "x"}, (403, "AccessDenied")),
        ({"x-ignore-more": "x"}, (204, "")),
        ({"bucket": "some-other-bucket"}, (204, "")),
    ],
)
def test_what_a_signature_is_good_for(
    server: Server, bucket: str, changed: dict[str, str | None], code: tuple[int, str]
) -> None:
    fields = signed(server, bucket)
    date = fields["x-amz-date"][:8]
    for name, value in changed.items():
        if value is None:
            del fields[name]
        else:
            fields[name] = value.replace("{date}", date)
    assert refusal(send(server, bucket, form(fields))) == code


def test_a_form_is_for_its_bucket_only(server: Server, s3: Any, bucket: str) -> None:
    s3.create_bucket(Bucket=f"{bucket}-2")
    fields = signed(server, bucket)
    assert refusal(send(server, f"{bucket}-2", form(fields))) == (403, "AccessDenied")
    assert refusal(send(server, f"{bucket}-2", form({**fields, "bucket": bucket}))) == (403, "AccessDenied")
    missing = f"{bucket}-3"
    assert refusal(send(server, missing, form(signed(server, missing)))) == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    ("low", "high", "size", "code"),
    [
        (4, 4, 4, (204, "")),
        (0, 3, 4, (400, "EntityTooLarge")),
        (5, 9, 4, (400, "EntityTooSmall")),
        (0, 9 << 20, 10 << 20, (400, "EntityTooLarge")),
        (11 << 20, 12 << 20, 10 << 20, (400, "EntityTooSmall")),
    ],
)
def test_sizes(server: Server, s3: Any, bucket: str, low: int, high: int, size: int, code: tuple[int, str]) -> None:
    fields = signed(server, bucket, conditions=[["content-length-range", low, high]])
    assert refusal(send(server, bucket, form(fields, ("f", bytes(size))))) == code
    assert ("Contents" in s3.list_objects_v2(Bucket=bucket)) is (code[0] == 204)


def test_checksums(server: Server, s3: Any, bucket: str) -> None:
    right = base64.b64encode(hashlib.sha256(b"data").digest()).decode()
    wrong = base64.b64encode(hashlib.sha256(b"Data").digest()).decode()
    status, headers, _ = send(server, bucket, form(signed(server, bucket, {"x-amz-checksum-sha256": right})))
    assert (status, headers["x-amz-checksum-sha256"]) == (204, right)
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumSHA256"] == right
    assert refusal(send(server, bucket, form(signed(server, bucket, {"x-amz-checksum-sha256": wrong})))) == (
        400,
        "BadDigest",
    )
    md5 = base64.b64encode(hashlib.md5(b"Data").digest()).decode()
    assert refusal(send(server, bucket, form(signed(server, bucket, {"content-md5": md5})))) == (400, "BadDigest")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"acl": "public-read"}, "NotImplemented"),
        ({"acl": "garbage"}, "InvalidArgument"),
        ({"key": "../k"}, "InvalidURI"),
        ({"x-amz-website-redirect-location": "foo"}, "InvalidRedirectLocation"),
        ({"tagging": "<Tagging/>"}, "NotImplemented"),
        ({"x-amz-server-side-encryption": "AES256"}, "NotImplemented"),
        ({"x-amz-storage-class": "COLD"}, "InvalidStorageClass"),
        ({"x-amz-meta-a": "x\r\nset-cookie: y"}, "InvalidArgument"),
        ({"x-amz-meta-a b": "x"}, "InvalidArgument"),
        ({"content-type": "a\nb"}, "InvalidArgument"),
        ({"x-amz-meta-a": "x" * 2100}, "MetadataTooLarge"),
        ({"key": "k" * 1025}, "KeyTooLongError"),
        ({"key": "a\0b"}, "InvalidURI"),
        ({"key": ""}, "InvalidArgument"),
    ],
)
def test_what_an_object_cannot_have(server: Server, bucket: str, fields: dict[str, str], code: str) -> None:
    assert refusal(send(server, bucket, form(signed(server, bucket, fields))))[1] == code


def test_what_follows_the_file_is_ignored(server: Server, s3: Any, bucket: str) -> None:
    behind = part("submit", b"Upload") + part("x-amz-meta-a", b"b") + part("file", b"another", "g")
    assert send(server, bucket, form(signed(server, bucket), behind=behind))[0] == 204
    found = s3.get_object(Bucket=bucket, Key="k")
    assert (found["Body"].read(), found["Metadata"]) == (b"data", {})


def test_what_is_no_form(server: Server, s3: Any, bucket: str) -> None:
    fields = signed(server, bucket)
    whole = form(fields, ("f", bytes(300_000)))
    for body, code in [
        (form(fields, None), "InvalidArgument"),
        (whole[:-8], "MalformedPOSTRequest"),
        (whole[:-200_000], "MalformedPOSTRequest"),
        (b"", "MalformedPOSTRequest"),
        (b"no form", "MalformedPOSTRequest"),
        (part("key", b"twice") + part("KEY", b"twice") + whole, "InvalidArgument"),
        (part("x-ignore-a", b"\xff") + whole, "InvalidArgument"),
        (part("x-ignore-a", bytes(20_481)) + whole, "MaxPostPreDataLengthExceeded"),
        (part("", bytes(33_000), "f.txt"), "MalformedPOSTRequest"),  # as minio-go's tests send it
        (part("key", b"k") + part("", b"x", "f.txt") + whole, "MalformedPOSTRequest"),
        (part("x-ignore-a", bytes(10_240)) + part("x-ignore-b", bytes(10_240)) + whole, "MaxPostPreDataLengthExceeded"),
        (b"".join(part(f"x-ignore-{n}", b"") for n in range(300)) + whole, "MalformedPOSTRequest"),
        (part("x" * 5000, b"") + whole, "MalformedPOSTRequest"),
    ]:
        assert refusal(send(server, bucket, body)) == (400, code)
    assert refusal(send(server, bucket, whole, "text/plain")) == (412, "PreconditionFailed")
    assert refusal(send(server, bucket, whole, "multipart/form-data")) == (400, "MalformedPOSTRequest")
    assert refusal(send(server, bucket, whole, f"multipart/form-data; boundary={'x' * 71}")) == (
        400,
        "MalformedPOSTRequest",
    )
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=bucket, Key="k")


def test_a_form_without_a_signature_is_nobodys(server: Server, bucket: str) -> None:
    assert refusal(send(server, bucket, form({"key": "k"}))) == (403, "AccessDenied")
    assert refusal(send(server, "no-such-bucket-here", form({"key": "k"}))) == (403, "AccessDenied")
