"""What is stored of headers, and comes back: bytes as they came, conditions that nothing meets."""

import http.client
import urllib.parse
from email.header import decode_header, make_header
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from gateway import attributes
from gateway.errors import S3Error
from gateway.request import Request
from tests.gateway.requests import receive_from, request
from tests.server import Server
from topics.objects import Attributes, Preconditions


def returned(name: bytes, value: bytes) -> bytes:
    """What an object's header is given back as, of one that came so."""
    scope = {"method": "PUT", "path": "/b/k", "query_string": b"", "headers": [(name, value)]}
    asked = Request(scope, receive_from([])).parse(scope, "")
    kept = attributes.from_headers(asked.headers, asked.in_utf8)
    return dict(attributes.to_headers(kept))[name.decode()].encode("latin-1")


NAMES = [b"content-disposition", b"cache-control", b"content-type", b"content-language", b"expires"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value", [b"plain", "é".encode("latin-1"), "é".encode(), "Zürich".encode(), b"\xe9\xff", b"\xc2\xa0"]
)
def test_what_latin_1_can_hold_comes_back_in_the_bytes_that_it_came_in(name: bytes, value: bytes) -> None:
    assert returned(name, value) == value


@pytest.mark.parametrize("value", ["plain", "é", "Zürich", "\xa0", "\xff"])
def test_metadata_that_latin_1_can_hold_come_back_in_it_however_they_came(value: str) -> None:
    """As SDKs read headers: boto3 sends them in UTF-8."""
    assert returned(b"x-amz-meta-a", value.encode()) == value.encode("latin-1")
    assert returned(b"x-amz-meta-a", value.encode("latin-1")) == value.encode("latin-1")


@pytest.mark.parametrize("text", ["日本", "Zürich 日本", "a" * 100 + "語" * 100, "😀 a  b\t"])
def test_metadata_beyond_latin_1_are_encoded_words(text: str) -> None:
    found = returned(b"x-amz-meta-a", text.encode()).decode("ascii")
    assert all(len(word) <= 75 for word in found.split(" "))
    assert str(make_header(decode_header(found))) == text.strip(" \t")


@pytest.mark.parametrize("name", NAMES)
def test_system_headers_beyond_latin_1_come_back_as_they_came(name: bytes) -> None:
    value = 'attachment; filename="日本.txt"'.encode()
    assert returned(name, value) == value


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=80))
def test_no_text_is_damaged(text: str) -> None:
    text = text.strip(" \t")
    found = returned(b"x-amz-meta-a", text.encode())
    fits = all(each <= "\xff" for each in text)
    assert found == text.encode("latin-1") if fits else str(make_header(decode_header(found.decode("ascii")))) == text


def test_what_is_copied_keeps_its_bytes() -> None:
    old = Attributes(headers={"cache-control": "é"}, in_utf8=("cache-control",))
    assert attributes.to_headers(old)[-1] == ("cache-control", "Ã©")
    assert attributes.to_headers(Attributes(headers={"cache-control": "é"}))[-1] == ("cache-control", "é")


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, Preconditions()),
        ({"if-match": '"abc"'}, Preconditions("abc")),
        ({"if-match": "abc"}, Preconditions("abc")),
        ({"if-match": "*"}, Preconditions("*")),
        ({"if-match": ""}, Preconditions('""')),
        ({"if-match": '""'}, Preconditions('""')),
        ({"if-match": '"*"'}, Preconditions('"*"')),  # an ETag, as it is in quotes
        ({"if-match": 'W/"abc"'}, Preconditions('W/"abc')),  # RFC 9110 §13.1.1: never matches
        ({"if-none-match": "*"}, Preconditions("", "*")),
        ({"if-none-match": 'W/"abc"'}, Preconditions("", "abc")),
    ],
)
def test_the_conditions_of_a_write(headers: dict[str, str], wanted: Preconditions) -> None:
    assert attributes.preconditions(request("PUT", "/b/k", headers)) == wanted


@pytest.mark.parametrize("value", ["", '""', '"a", "b"', "W/"])
def test_a_condition_that_s3_does_not_have_is_not_passed_over(value: str) -> None:
    with pytest.raises(S3Error, match="NotImplemented"):
        attributes.preconditions(request("PUT", "/b/k", {"if-none-match": value}))


@pytest.mark.parametrize("name", ["x-amz-server-side-encryption", "x-amz-object-lock-mode"])
def test_a_header_without_a_value_is_a_header(name: str) -> None:
    for value in ("", "something"):
        with pytest.raises(S3Error, match="NotImplemented"):
            attributes.from_headers({name: value})


def test_metadata_are_counted_in_bytes() -> None:
    attributes.from_headers({"x-amz-meta-a": "é" * 1023})
    with pytest.raises(S3Error, match="MetadataTooLarge"):
        attributes.from_headers({"x-amz-meta-a": "é" * 1024})


def send(server: Server, method: str, url: str, headers: dict[str, Any] | None = None) -> http.client.HTTPResponse:
    target = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request(method, f"{target.path}?{target.query}", None if method == "GET" else b"new", headers or {})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize("value", ["", '""', '"other"', '"*"'])
def test_an_empty_if_match_overwrites_and_deletes_nothing(server: Server, s3: Any, bucket: str, value: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    for operation, method in (("put_object", "PUT"), ("delete_object", "DELETE")):
        url = s3.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "k"})
        assert send(server, method, url, {"if-match": value}).status == 412
    deleted = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "ETag": value}]})
    assert [each["Code"] for each in deleted["Errors"]] == ["PreconditionFailed"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"


def test_conditions_of_other_buckets_delete_nothing(server: Server, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    url = s3.generate_presigned_url("delete_object", Params={"Bucket": bucket, "Key": "k", "IfMatchSize": 5})
    assert send(server, "DELETE", url).status == 501
    for entry in ({"Key": "k", "Size": 5}, {"Key": "k", "VersionId": ""}):
        assert len(s3.delete_objects(Bucket=bucket, Delete={"Objects": [entry]})["Errors"]) == 1
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"


def test_metadata_come_back_over_http(server: Server, s3: Any, bucket: str) -> None:
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    get = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    values = {"content-disposition": 'attachment; filename="日本"'.encode(), "content-language": "é".encode("latin-1")}
    assert send(server, "PUT", put, values).status == 200
    answer = send(server, "GET", get)
    for name, value in values.items():
        assert (answer.getheader(name) or "").encode("latin-1") == value


@pytest.mark.parametrize("place", ["/é", "/日本"])
def test_a_header_in_the_query_comes_back_in_the_utf_8_of_the_query(place: str) -> None:
    query = f"X-Amz-Signature=s&x-amz-website-redirect-location={urllib.parse.quote(place)}"
    asked = request("PUT", f"/bucket/key?{query}")
    kept = dict(attributes.to_headers(attributes.from_headers(asked.headers, asked.in_utf8)))
    assert kept["x-amz-website-redirect-location"].encode("latin-1") == place.encode()


@pytest.mark.parametrize("value", ["日本", "a\r\nb: c", "\x7f"])
def test_an_override_that_no_header_can_hold(s3: Any, server: Server, bucket: str, value: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for name in ("ResponseContentDisposition", "ResponseContentType", "ResponseCacheControl"):
        with pytest.raises(ClientError, match="InvalidArgument"):
            s3.get_object(Bucket=bucket, Key="k", **{name: value})
    found = s3.get_object(Bucket=bucket, Key="k", ResponseContentDisposition='attachment; filename="é"')
    assert found["ContentDisposition"] == 'attachment; filename="é"'
