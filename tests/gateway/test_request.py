"""A request's address, query and headers, and their bounds; documents of XML; ranges and conditions; the error table."""

import re
from pathlib import Path

import pytest

from datanode.node import BlobUnavailable
from gateway import xml
from gateway.errors import _TABLE, S3Error, as_s3_error
from gateway.get import byte_range, check_conditions
from gateway.request import HEADER_BYTES_MAX, is_bucket_name
from processors.reads import Object
from tests.gateway.requests import request
from topics.log import LogError, RecordTooLarge
from topics.objects import Attributes

ROOT = Path(__file__).parents[2]


def code(url: str, headers: dict[str, str] | None = None) -> str:
    with pytest.raises(S3Error) as raised:
        request("GET", url, headers)
    return raised.value.code


@pytest.mark.parametrize(
    ("url", "host", "address"),
    [
        ("/", "h", ("", "")),
        ("/b", "h", ("b", "")),
        ("/b/", "h", ("b", "")),
        ("/b/a/b%20c/%C3%BC", "h", ("b", "a/b c/ü")),
        ("/b//k", "h", ("b", "/k")),
        ("/b/a+b", "h", ("b", "a+b")),
        ("/a/k", "b.s3.example.com", ("b", "a/k")),
        ("/a/k", "b.s3.example.com:9000", ("b", "a/k")),
        ("/a/k", "b.S3.Example.com", ("b", "a/k")),
        ("/", "my.dotted.s3.example.com", ("my.dotted", "")),
        ("/b/k", "s3.example.com", ("b", "k")),
        ("/b/k", "evils3.example.com", ("b", "k")),
    ],
)
def test_addresses(url: str, host: str, address: tuple[str, str]) -> None:
    made = request("GET", url, {"host": host}, domain="s3.example.com")
    assert (made.bucket, made.key) == address


def test_queries_are_decoded() -> None:
    assert request("GET", "/b?a=1+2&b=%2B&c&d=&%C3%BC=x=y").query == {"a": "1 2", "b": "+", "c": "", "d": "", "ü": "x=y"}


def test_bounds() -> None:
    request("GET", "/b/" + "k" * 1024)
    assert code("/b/" + "k" * 1025) == "KeyTooLongError"
    assert code("/b/" + "%C3%BC" * 513) == "KeyTooLongError"
    assert code("/b/%ff") == "InvalidURI"
    assert code("/b/a%00b") == "InvalidURI"
    assert code("/b?prefix=%ff") == "InvalidURI"
    request("GET", "/", {"a": "x" * (HEADER_BYTES_MAX - 1)})
    assert code("/", {"a": "x" * HEADER_BYTES_MAX}) == "RequestHeaderSectionTooLarge"


@pytest.mark.parametrize(("text", "number"), [("", 7), ("0", 0), ("5", 5), ("99999", 1000)])
def test_numbers_of_the_query(text: str, number: int) -> None:
    assert request("GET", f"/b?max-keys={text}").integer("max-keys", 7, 0, 1000) == number


@pytest.mark.parametrize("text", ["-1", "x", "1.5", "1e3", "9" * 30, "٣"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(S3Error, match="InvalidArgument"):
        made = request("GET", "/b")
        made.query["max-keys"] = text
        made.integer("max-keys", 7, 0, 1000)


@pytest.mark.parametrize("name", ["abc", "a-b.c", "0123", "a" * 63])
def test_bucket_names(name: str) -> None:
    assert is_bucket_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "ab", "a" * 64, "Abc", "a_b", "-abc", "abc-", ".abc", "a..b", "192.168.0.1", "xn--abc", "sthree-abc", "abc-s3alias",
        "abc--ol-s3", "photos--at--20261123t100000z", "abc\n", "ünï", "",
    ],
)  # fmt: skip
def test_what_is_no_bucket_name(name: str) -> None:
    assert not is_bucket_name(name)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<a>",
        b"<Delete>",
        b"<Other></Other>",
        b"\xff\xfe",
        b'<!DOCTYPE Delete [<!ENTITY a "b">]><Delete>&a;</Delete>',
        '<!DOCTYPE Delete [<!ENTITY a "b">]><Delete>&a;</Delete>'.encode("utf-16"),
        '<!DOCTYPE Delete [<!ENTITY a "b">]><Delete>&a;</Delete>'.encode("utf-16-le"),
        '<!DOCTYPE Delete [<!ENTITY a "b">]><Delete>&a;</Delete>'.encode("utf-16-be"),
        b'<!DOCTYPE Delete SYSTEM "file:///etc/passwd"><Delete></Delete>',
    ],
)
def test_what_is_no_document(data: bytes) -> None:
    with pytest.raises(S3Error, match="MalformedXML"):
        xml.parse(data, "Delete")


def test_documents_with_and_without_a_namespace() -> None:
    plain = "<Delete><Quiet>true</Quiet></Delete>"
    for given in (plain, f'<Delete xmlns="{xml.NAMESPACE}"><Quiet>true</Quiet></Delete>', f"\ufeff{plain}"):
        assert xml.child(xml.parse(given.encode(), "Delete"), "Quiet") == "true"


def test_text_that_must_be_escaped() -> None:
    assert xml.text("Key", "<&>\n\x01") == "<Key>&lt;&amp;&gt;&#xA;&#x1;</Key>"


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("", None), ("bytes=0-0", (0, 1)), ("bytes=2-5", (2, 4)), ("bytes=2-", (2, 8)), ("bytes=-3", (7, 3)),
        ("bytes=-99", (0, 10)), ("bytes=5-99", (5, 5)), ("bytes=5-2", None), ("bytes=-", None), ("lines=1-2", None),
        ("bytes=0-1,3-4", None), ("bytes=a-b", None),
        (f"bytes=0-{'9' * 20}", (0, 10)), (f"bytes={'0' * 5000}-", None),
    ],
)  # fmt: skip
def test_ranges(header: str, span: tuple[int, int] | None) -> None:
    assert byte_range(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_ranges_outside_of_the_object(header: str) -> None:
    with pytest.raises(S3Error, match="InvalidRange"):
        byte_range(header, 10)


FOUND = Object(3, "abc", 1_800_000_000_500, "null", Attributes(), [])
BEFORE, AT, AFTER = (f"Fri, 15 Jan 2027 {time} GMT" for time in ("07:59:59", "08:00:00", "08:00:01"))


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({"if-match": '"abc"'}, ""),
        ({"if-match": "*"}, ""),
        ({"if-match": '"x", "abc"'}, ""),
        ({"if-match": '"x"'}, "PreconditionFailed"),
        ({"if-none-match": '"x"'}, ""),
        ({"if-none-match": "abc"}, "NotModified"),
        ({"if-none-match": 'W/"abc"'}, "NotModified"),
        ({"if-none-match": "*"}, "NotModified"),
        ({"if-modified-since": BEFORE}, ""),
        ({"if-modified-since": AT}, "NotModified"),
        ({"if-modified-since": "yesterday"}, ""),
        ({"if-modified-since": "Fri, 99999999999999999999 Jan 2027 08:00:00 GMT"}, ""),
        ({"if-unmodified-since": AFTER}, ""),
        ({"if-unmodified-since": AT}, ""),
        ({"if-unmodified-since": BEFORE}, "PreconditionFailed"),
        ({"if-match": '"abc"', "if-unmodified-since": BEFORE}, ""),  # RFC 9110 §13.2.2: the tag wins
        ({"if-none-match": '"x"', "if-modified-since": AT}, ""),
    ],
)
def test_conditions(headers: dict[str, str], outcome: str) -> None:
    if not outcome:
        check_conditions(headers, FOUND, "")
        return
    with pytest.raises(S3Error) as raised:
        check_conditions(headers, FOUND, "")
    assert raised.value.code == outcome


def test_every_error_that_is_raised_has_its_status() -> None:
    raised: set[str] = set()
    for folder in ("gateway", "processors", "bucketlog"):
        for path in (ROOT / folder).rglob("*.py"):
            raised |= set(re.findall(r"(?:S3Error|Rejected)\(\s*\"(\w+)\"", path.read_text()))
    assert len(raised) > 30
    assert raised <= set(_TABLE)


def test_failures_tell_nothing_of_the_inside() -> None:
    for error, status in (
        (LogError("the log cannot be written (/var/data)"), 503),
        (RecordTooLarge("a record of 2000000 bytes in /var/data"), 400),
        (OSError(28, "No space left on device", "/var/data"), 503),
        (BlobUnavailable("blob 12 in volume 3 is damaged"), 500),
        (KeyError("secret"), 500),
    ):
        told = as_s3_error(error)
        assert told.status == status
        assert not re.search(r"/var|volume|secret", told.message)
