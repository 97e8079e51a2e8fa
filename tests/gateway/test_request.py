"""A request's address, query and headers, and their bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import S3Error
from gateway.request import HEADER_BYTES_MAX, Request, http_date, is_bucket_name
from tests.gateway.requests import receive_from, request


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


def raw(path: bytes, query: bytes = b"", headers: list[tuple[bytes, bytes]] | None = None) -> Request:
    scope = {"method": "GET", "path": "", "raw_path": path, "query_string": query, "headers": headers or []}
    return Request(scope, receive_from([])).parse(scope, "")


@given(path=st.binary(max_size=40), query=st.binary(max_size=40), value=st.binary(max_size=40))
def test_whatever_is_sent_is_a_request_or_refused(path: bytes, query: bytes, value: bytes) -> None:
    try:
        made = raw(b"/b/" + path, query, [(b"x-amz-meta-a", value)])
    except S3Error as error:
        assert error.code == "InvalidURI"
    else:
        assert made.bucket == "b"
        assert "\0" not in made.key
        made.headers["x-amz-meta-a"].encode()


@pytest.mark.parametrize("path", ["%80", "%C3", "%ED%A0%80", "%F4%90%80%80", "%C0%AF", "%00", "a%00"])
def test_what_is_not_utf_8_is_no_key(path: str) -> None:
    assert code(f"/b/{path}") == "InvalidURI"
    assert code(f"/b?prefix={path}") == "InvalidURI"
    assert code(f"/b?{path}=1") == "InvalidURI"


@pytest.mark.parametrize(
    "path", ["%", "%2", "%zz", "a%25b", "%2F", "%0A", ".", "a/../b", "a/%2e%2e/b", "..a", "a/b/../../c"]
)
def test_odd_keys_are_keys(path: str) -> None:
    key = {"a%25b": "a%b", "%2F": "/", "%0A": "\n", "a/%2e%2e/b": "a/../b"}.get(path, path)
    assert request("GET", f"/b/{path}").key == key


@pytest.mark.parametrize("path", ["..", "../x", "%2e%2e/x", "a/../..", "a/../../b", "./../x", "/../x", "a/b/../../../c"])
def test_no_key_climbs_out_of_its_bucket(path: str) -> None:
    assert code(f"/b/{path}") == "InvalidURI"


def test_keys_are_counted_in_bytes_of_utf_8() -> None:
    assert len(request("GET", "/b/" + "%F0%9F%98%80" * 256).key) == 256
    assert code("/b/" + "%F0%9F%98%80" * 256 + "a") == "KeyTooLongError"
    host = {"host": "b.s3.example.com"}
    assert len(request("GET", "/" + "k" * 1024, host, domain="s3.example.com").key) == 1024
    with pytest.raises(S3Error, match="KeyTooLongError"):
        request("GET", "/" + "k" * 1025, host, domain="s3.example.com")


def test_all_headers_count_together() -> None:
    half = HEADER_BYTES_MAX // 2
    request("GET", "/", [("a", "x" * (half - 1)), ("b", "x" * (half - 1))])
    with pytest.raises(S3Error, match="RequestHeaderSectionTooLarge"):
        request("GET", "/", [("a", "x" * (half - 1)), ("a", "x" * half)])


def test_the_values_of_headers() -> None:
    made = raw(b"/", headers=[(b"a", b" one "), (b"a", b"two"), (b"utf", "ü".encode()), (b"latin", b"\xfc"), (b"e", b"")])
    assert made.headers == {"a": "one,two", "utf": "ü", "latin": "ü", "e": ""}


@pytest.mark.parametrize(
    ("headers", "is_drained"),
    [
        ({}, True),
        ({"content-length": "0"}, True),
        ({"content-length": "1"}, False),
        ({"transfer-encoding": "chunked"}, False),
        ({"content-length": "0", "transfer-encoding": "chunked"}, False),
    ],
)
def test_whether_there_is_a_body_to_read(headers: dict[str, str], is_drained: bool) -> None:
    assert request("PUT", "/b/k", headers).is_drained is is_drained


def test_ids_differ() -> None:
    assert len({request().id for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text",
    [
        "Fri, 15 Jan 2027 08:00:00 GMT",
        "Friday, 15-Jan-27 08:00:00 GMT",
        "Fri Jan 15 08:00:00 2027",
        "Fri, 15 Jan 2027 09:00:00 +0100",
        "Fri, 15 Jan 2027 08:00:00 -0000",
    ],
)
def test_dates(text: str) -> None:
    date = http_date(text)
    assert date is not None
    assert date.isoformat() == "2027-01-15T08:00:00+00:00"


@given(st.text())
def test_whatever_is_no_date(text: str) -> None:
    date = http_date(text)
    assert date is None or date.utcoffset() is not None


@pytest.mark.parametrize("text", ["", " ", "yesterday", "2027-01-15", "Fri, 32 Jan 2027 08:00:00 GMT", "1800000000"])
def test_what_is_no_date(text: str) -> None:
    assert http_date(text) is None
