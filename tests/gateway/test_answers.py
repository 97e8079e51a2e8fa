"""What S3 answers to the odd and the wrong, in tables: each row against a running store.

Source: the S3 API's pages of the operations, "Error Responses", and botocore's model.
"""

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.gateway.requests import request
from tests.gateway.signed import Answer, ask, send
from tests.server import ACCESS_KEY, SECRET_KEY, Server


@pytest.fixture
def holding(s3: Any, bucket: str) -> str:
    """A bucket with an object "k" of ten bytes."""
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789", Metadata={"colour": "blue"})
    return bucket


REFUSED = [  # method, target, headers, answer, details
    ("GET", "/{b}/k?partNumber=1", {"range": "bytes=0-1"}, (400, "InvalidRequest"), {}),
    ("GET", "/{b}?list-type=2&continuation-token=%25%25", {}, (400, "InvalidArgument"), {"ArgumentValue": "%%"}),
    ("GET", "/{b}?list-type=2&continuation-token=a", {}, (400, "InvalidArgument"), {"ArgumentName": "continuation-token"}),
    ("GET", "/{b}?list-type=2&continuation-token=_w%3D%3D", {}, (400, "InvalidArgument"), {}),
    ("GET", "/?continuation-token=%25%25", {}, (400, "InvalidArgument"), {"ArgumentName": "continuation-token"}),
    ("GET", "/{b}?versions&version-id-marker=null", {}, (400, "InvalidArgument"), {"ArgumentName": "version-id-marker"}),
    ("GET", "/{b}?versions&key-marker=a&version-id-marker=%20", {}, (400, "InvalidArgument"), {}),
    ("GET", "/{b}?max-keys=x", {}, (400, "InvalidArgument"), {"ArgumentName": "max-keys", "ArgumentValue": "x"}),
    ("GET", "/{b}?encoding-type=base64", {}, (400, "InvalidArgument"), {"ArgumentName": "encoding-type"}),
    ("DELETE", "/{b}/k?versionId=abc", {}, (400, "InvalidArgument"), {"ArgumentName": "versionId", "ArgumentValue": "abc"}),
    ("GET", "/{b}/k?versionId=abc", {}, (400, "InvalidArgument"), {"ArgumentName": "versionId"}),
    ("GET", "/{b}/k?versionId=", {}, (400, "InvalidArgument"), {"ArgumentName": "versionId"}),
    ("GET", f"/{{b}}/k?versionId={'v' * 32}", {}, (404, "NoSuchVersion"), {"Key": "k", "VersionId": "v" * 32}),
    ("DELETE", "/{b}/none", {"if-match": "*"}, (404, "NoSuchKey"), {"Key": "none"}),
    ("DELETE", "/{b}/k", {"if-match": '"0"'}, (412, "PreconditionFailed"), {"Condition": "If-Match"}),
    ("PUT", "/{b}/../x", {}, (400, "InvalidURI"), {"URI": "/{b}/../x"}),
    ("GET", "/{b}/a/%2e%2e/../x", {}, (400, "InvalidURI"), {}),
    ("PUT", "/{b}/new", {"x-amz-acl": "garbage"}, (400, "InvalidArgument"), {"ArgumentName": "x-amz-acl"}),
    ("POST", "/{b}/new?uploads", {"x-amz-acl": ""}, (400, "InvalidArgument"), {"ArgumentName": "x-amz-acl"}),
    ("PUT", "/{b}-new", {"x-amz-acl": "garbage"}, (400, "InvalidArgument"), {"ArgumentValue": "garbage"}),
    ("PUT", "/{b}/new", {"x-amz-website-redirect-location": "foo"}, (400, "InvalidRedirectLocation"), {}),
    ("PUT", "/{b}/new", {"x-amz-storage-class": "COLD"}, (400, "InvalidStorageClass"), {"StorageClassRequested": "COLD"}),
    (
        "PUT",
        "/{b}/new",
        {"x-amz-meta-a": "x" * 2048},
        (400, "MetadataTooLarge"),
        {"Size": "2049", "MaxSizeAllowed": "2048"},
    ),
    ("PUT", f"/{{b}}/{'k' * 1025}", {}, (400, "KeyTooLongError"), {"Size": "1025", "MaxSizeAllowed": "1024"}),
    ("PUT", "/{b}/new", {"x-amz-copy-source": "{b}/%ff"}, (400, "InvalidArgument"), {"ArgumentName": "x-amz-copy-source"}),
    ("PUT", "/{b}/new", {"x-amz-copy-source": "{b}/../k"}, (400, "InvalidArgument"), {}),
    ("PUT", "/{b}/new", {"x-amz-copy-source": "{b}/a%00"}, (400, "InvalidArgument"), {}),
    ("PUT", "/{b}/new", {"x-amz-copy-source": "B!/k"}, (400, "InvalidArgument"), {"ArgumentValue": "B!/k"}),
    ("PUT", "/{b}/new", {"x-amz-copy-source": "{b}/k?versionId=abc"}, (400, "InvalidArgument"), {}),
    ("PUT", "/{b}/new", {"x-amz-copy-source": f"{{b}}/k?versionId={'v' * 32}"}, (404, "NoSuchVersion"), {"Key": "k"}),
    (
        "PUT",
        "/{b}/new",
        {"x-amz-copy-source": "{b}/k", "x-amz-source-expected-bucket-owner": "111111111111"},
        (403, "AccessDenied"),
        {},
    ),
    ("GET", "/{b}/k", {"x-amz-expected-bucket-owner": "111111111111"}, (403, "AccessDenied"), {}),
    ("GET", "/{b}/k", {"x-amz-expected-bucket-owner": "root"}, (400, "InvalidBucketOwnerAWSAccountID"), {}),
    (
        "PUT",
        "/{b}/new",
        {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="},
        (400, "BadDigest"),
        {"ExpectedDigest": "AAAAAAAAAAAAAAAAAAAAAA==", "CalculatedDigest": "1B2M2Y8AsgTpgAmY7PhCfg=="},
    ),
    ("PUT", "/{b}/new", {"content-md5": "short"}, (400, "InvalidDigest"), {"Content-MD5": "short"}),
    ("PUT", "/healthz", {}, (400, "InvalidBucketName"), {"BucketName": "healthz"}),
    ("PUT", "/readyz/", {}, (400, "InvalidBucketName"), {"BucketName": "readyz"}),
]


@pytest.mark.parametrize(("method", "target", "headers", "refusal", "details"), REFUSED)
def test_refusals(
    server: Server,
    holding: str,
    method: str,
    target: str,
    headers: dict[str, str],
    refusal: tuple[int, str],
    details: dict[str, str],
) -> None:
    given = {name: value.format(b=holding) for name, value in headers.items()}
    found = ask(server, method, target.replace("{b}", holding), given)
    assert found.refusal == refusal
    for name, value in details.items():
        assert found.fields[name] == value.replace("{b}", holding)
    if method != "DELETE":
        assert ask(server, "GET", f"/{holding}/k").body == b"0123456789"


def create(server: Server, name: str, inside: str) -> Answer:
    document = f"<CreateBucketConfiguration>{inside}</CreateBucketConfiguration>".encode()
    return ask(server, "PUT", f"/{name}", {}, document)


def test_a_signature_for_another_region(server: Server, holding: str) -> None:
    found = ask(server, "GET", f"/{holding}/k", region="eu-west-1")
    assert (found.refusal, found.fields["Region"]) == ((400, "AuthorizationHeaderMalformed"), "us-east-1")
    assert found.fields["Message"].endswith("the region 'eu-west-1' is wrong; expecting 'us-east-1'")


def test_an_sdk_goes_on_with_the_region_that_it_is_told(server: Server, holding: str) -> None:
    elsewhere = boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="eu-west-1",
    )
    assert elsewhere.get_object(Bucket=holding, Key="k")["Body"].read() == b"0123456789"


ORIGIN = {"origin": "http://evil.example"}


@pytest.mark.parametrize(
    ("target", "headers", "refusal", "message"),
    [
        ("/{b}/k", {}, (400, "BadRequest"), "Insufficient information. Origin request header needed."),
        ("/{b}/k", ORIGIN, (400, "BadRequest"), "Invalid Access-Control-Request-Method: null"),
        (
            "/{b}/k",
            ORIGIN | {"access-control-request-method": "GET"},
            (403, "AccessForbidden"),
            "CORSResponse: CORS is not enabled for this bucket.",
        ),
        ("/{b}?acl", ORIGIN | {"access-control-request-method": "PUT"}, (403, "AccessForbidden"), ""),
        ("/no-such-bucket/k", ORIGIN | {"access-control-request-method": "GET"}, (404, "NoSuchBucket"), ""),
    ],
)
def test_a_browsers_question(
    server: Server, holding: str, target: str, headers: dict[str, str], refusal: tuple[int, str], message: str
) -> None:
    found = send(server, "OPTIONS", target.replace("{b}", holding), headers)
    assert found.refusal == refusal
    assert message in found.fields["Message"]
    assert not [name for name in found.headers if name.startswith("access-control-")]


def test_a_method_that_there_is_not_here(server: Server, holding: str) -> None:
    found = ask(server, "POST", f"/{holding}/k")
    assert (found.refusal, found.headers["allow"]) == ((405, "MethodNotAllowed"), "DELETE, GET, HEAD, PUT")
    assert (found.fields["Method"], found.fields["ResourceType"]) == ("POST", "OBJECT")


def test_a_name_twice_in_a_query(server: Server, holding: str) -> None:
    found = ask(server, "GET", f"/{holding}?prefix=k&prefix=none&list-type=2")
    assert (found.status, found.fields["KeyCount"]) == (200, "1")


def test_where_a_bucket_can_be(server: Server, bucket: str) -> None:
    found = create(server, f"{bucket}-2", "<LocationConstraint>eu-west-1</LocationConstraint>")
    assert found.refusal == (400, "IllegalLocationConstraintException")
    assert found.fields["Message"].startswith("The eu-west-1 location constraint is incompatible for the region specific")
    found = create(server, f"{bucket}-2", "<LocationConstraint>nowhere</LocationConstraint>")
    assert (found.refusal, found.fields["LocationConstraint"]) == ((400, "InvalidLocationConstraint"), "nowhere")
    assert create(server, f"{bucket}-2", "<LocationConstraint>us-east-1</LocationConstraint>").status == 200
    assert create(server, f"{bucket}-3", "<LocationConstraint/>").status == 200
    tags = "<Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags>"
    assert create(server, f"{bucket}-4", tags).refusal == (501, "NotImplemented")  # not dropped


@pytest.mark.parametrize(
    "storage_class",
    [
        "STANDARD",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
        "ONEZONE_IA",
        "INTELLIGENT_TIERING",
        "GLACIER",
        "GLACIER_IR",
        "DEEP_ARCHIVE",
    ],
)
def test_storage_classes_are_kept_and_told(s3: Any, bucket: str, storage_class: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass=storage_class)
    assert s3.head_object(Bucket=bucket, Key="k").get("StorageClass", "STANDARD") == storage_class
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["StorageClass"] == storage_class
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", StorageClass=storage_class)
    assert s3.head_object(Bucket=bucket, Key="copy").get("StorageClass", "STANDARD") == storage_class
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", StorageClass=storage_class)["UploadId"]
    assert s3.list_parts(Bucket=bucket, Key="m", UploadId=upload)["StorageClass"] == storage_class
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_redirects_that_are_ones(s3: Any, bucket: str) -> None:
    for target in ("/other", "http://example.com/", "https://example.com/"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", WebsiteRedirectLocation=target)
        assert s3.head_object(Bucket=bucket, Key="k")["WebsiteRedirectLocation"] == target


def test_the_owner_is_known_by_an_account_of_twelve_digits(s3: Any, holding: str) -> None:
    mine = {"Bucket": holding, "ExpectedBucketOwner": "000000000000"}
    assert s3.get_object(**mine, Key="k")["ContentLength"] == 10
    assert s3.list_objects_v2(**mine)["KeyCount"] == 1
    s3.copy_object(**mine, Key="c", CopySource=f"{holding}/k", ExpectedSourceBucketOwner="000000000000")
    with pytest.raises(ClientError, match="403"):
        s3.head_bucket(Bucket=holding, ExpectedBucketOwner="123456789012")


def test_a_key_in_a_listing_is_encoded_as_the_documentation_shows(server: Server, s3: Any, bucket: str) -> None:
    keys = ["test_file(3).png", "it's!*~.a/b c+d"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    found = ask(server, "GET", f"/{bucket}?encoding-type=url").body.decode()
    assert "<Key>test_file%283%29.png</Key>" in found
    assert "<Key>it%27s%21%2A~.a/b%20c%2Bd</Key>" in found
    assert [row["Key"] for row in s3.list_objects_v2(Bucket=bucket)["Contents"]] == sorted(keys)


def test_what_a_truncated_page_says_of_the_next(s3: Any, bucket: str) -> None:
    for key in ("a/1", "a/2", "b", "c/1", "c/2", "d"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    plain = s3.list_objects(Bucket=bucket, MaxKeys=2)
    assert plain["IsTruncated"]
    assert "NextMarker" not in plain  # the last key is it; only with a delimiter is it told
    grouped = s3.list_objects(Bucket=bucket, MaxKeys=3, Delimiter="/")
    assert (grouped["IsTruncated"], grouped["NextMarker"]) == (True, "c/")
    rest = s3.list_objects(Bucket=bucket, Delimiter="/", Marker="c/")
    assert ([row["Key"] for row in rest["Contents"]], rest.get("CommonPrefixes")) == (["d"], None)
    page = s3.list_object_versions(Bucket=bucket, MaxKeys=3, Delimiter="/")
    assert page["NextKeyMarker"] == "c/"
    assert "NextVersionIdMarker" not in page  # a common prefix has no versions
    page = s3.list_object_versions(Bucket=bucket, MaxKeys=2, Delimiter="/")
    assert (page["NextKeyMarker"], page["NextVersionIdMarker"]) == ("b", "null")


def test_pages_go_on_by_their_tokens(s3: Any, bucket: str) -> None:
    keys = [f"k{number}ü" for number in range(5)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert [row["Key"] for page in pages for row in page["Contents"]] == keys
    first = s3.list_buckets(MaxBuckets=1)
    rest = (
        s3.list_buckets(ContinuationToken=first["ContinuationToken"]) if "ContinuationToken" in first else {"Buckets": []}
    )
    names = [row["Name"] for row in s3.list_buckets()["Buckets"]]
    assert [row["Name"] for row in first["Buckets"] + rest["Buckets"]] == names


def test_a_listing_with_metadata_as_minios_clients_ask_for_it(server: Server, s3: Any, holding: str) -> None:
    for query in ("list-type=2&metadata=true", "versions&metadata=true"):
        found = ask(server, "GET", f"/{holding}?{query}").body.decode()
        kept = "<content-type>binary/octet-stream</content-type><X-Amz-Meta-Colour>blue</X-Amz-Meta-Colour>"
        assert f"<UserMetadata>{kept}</UserMetadata>" in found
    assert b"UserMetadata" not in ask(server, "GET", f"/{holding}?list-type=2").body


def test_several_deletions_in_one_request_are_refused_each_for_itself(s3: Any, holding: str) -> None:
    wanted = [{"Key": "k", "VersionId": "abc"}, {"Key": "none", "ETag": "0"}, {"Key": "k", "ETag": "0"}, {"Key": "gone"}]
    found = s3.delete_objects(Bucket=holding, Delete={"Objects": wanted})
    assert [(row["Key"], row["Code"]) for row in found["Errors"]] == [
        ("k", "InvalidArgument"),
        ("none", "NoSuchKey"),
        ("k", "PreconditionFailed"),
    ]
    assert [row["Key"] for row in found["Deleted"]] == ["gone"]


def test_what_was_stored_under_a_key_that_climbs_out_can_still_be_deleted(s3: Any, bucket: str) -> None:
    assert s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "../x"}]})["Deleted"] == [{"Key": "../x"}]


def test_the_domain_has_no_case() -> None:
    for domain in ("s3.example.com", "S3.Example.COM"):
        made = request("GET", "/k", {"host": "Photos.S3.example.com:9000"}, domain=domain)
        assert (made.bucket, made.key) == ("photos", "k")
