"""Ranges and the conditions of a read: RFC 9110 §13 and §14, in tables."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import S3Error
from gateway.get import byte_range, check_conditions, part_range, wanted_range
from processors.reads import Object
from tests.gateway.requests import request
from topics.objects import Attributes, Checksum


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


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_ranges_are_those_of_a_slice(size: int, first: int, last: int) -> None:
    data = bytes(range(size))
    for header, part in ((f"{first}-{last}", data[first : last + 1]), (f"{first}-", data[first:])):
        try:
            span = byte_range(f"bytes={header}", size)
        except S3Error:
            assert part == b""
        else:
            assert span is None if header.endswith(f"-{last}") and last < first else span == (first, len(part))
    try:
        assert byte_range(f"bytes=-{last}", size) == (max(0, size - last), min(last, size))
    except S3Error:
        assert min(last, size) == 0


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=5-"])
def test_of_nothing_there_is_no_range(header: str) -> None:
    with pytest.raises(S3Error, match="InvalidRange"):
        byte_range(header, 0)


@pytest.mark.parametrize(
    "header", ["bytes 0-1", "bytes=0-1-2", "bytes=0", "bytes==0-1", "bytes=0x0-1", "bytes=+0-1", "bytes=0 - 1", "bytes=٣-"]
)
def test_what_is_no_range_is_passed_over(header: str) -> None:
    assert byte_range(header, 10) is None


@pytest.mark.parametrize(
    ("validator", "span"),
    [
        ('"abc"', (1, 1)), ("abc", (1, 1)), (AT, (1, 1)),
        ('"x"', None), ('W/"abc"', None), ("*", None), ("", None), ("yesterday", None), (BEFORE, None), (AFTER, None),
    ],
)  # fmt: skip
def test_if_range(validator: str, span: tuple[int, int] | None) -> None:
    assert wanted_range({"range": "bytes=1-1"}, FOUND) == (1, 1)
    assert wanted_range({"range": "bytes=1-1", "if-range": validator}, FOUND) == span
    assert wanted_range({"if-range": validator}, FOUND) is None
    if span is None:  # the rest of a longer object that was replaced since
        assert wanted_range({"range": "bytes=7-", "if-range": validator}, FOUND) is None


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({}, ""),
        ({"if-match": ""}, "PreconditionFailed"),
        ({"if-match": "abc"}, ""),
        ({"if-match": '"ABC"'}, "PreconditionFailed"),
        ({"if-none-match": '"x", "abc"'}, "NotModified"),
        ({"if-none-match": ""}, ""),
        ({"if-modified-since": AFTER}, "NotModified"),
        ({"if-unmodified-since": "yesterday"}, ""),
        ({"if-match": '"abc"', "if-none-match": '"abc"'}, "NotModified"),
        ({"if-match": '"x"', "if-none-match": '"abc"'}, "PreconditionFailed"),
        ({"if-match": '"abc"', "if-modified-since": AT}, "NotModified"),
        ({"if-unmodified-since": BEFORE, "if-none-match": '"abc"'}, "PreconditionFailed"),
        ({"if-unmodified-since": AT, "if-modified-since": AT}, "NotModified"),
        ({"if-none-match": '"abc"', "if-modified-since": BEFORE}, "NotModified"),
    ],
)
def test_conditions_together(headers: dict[str, str], outcome: str) -> None:
    assert outcome_of(headers) == outcome
    copied = {f"x-amz-copy-source-{name}": value for name, value in headers.items()}
    assert outcome_of(copied) == ""
    assert outcome_of(copied, "x-amz-copy-source-") == outcome.replace("NotModified", "PreconditionFailed")


def outcome_of(headers: dict[str, str], prefix: str = "") -> str:
    try:
        check_conditions(headers, FOUND, prefix)
    except S3Error as error:
        return error.code
    return ""


def test_what_is_not_modified_is_named() -> None:
    with pytest.raises(S3Error) as raised:
        check_conditions({"if-none-match": "*"}, FOUND, "")
    assert (raised.value.status, raised.value.headers) == (304, [("etag", '"abc"'), ("last-modified", AT)])


@pytest.fixture
def zone_far_from_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "EST5")
        time.tzset()
        yield
    time.tzset()


def test_a_date_that_names_no_zone_is_utc(zone_far_from_utc: None) -> None:
    assert outcome_of({"if-modified-since": "Fri Jan 15 08:00:00 2027"}) == "NotModified"
    assert outcome_of({"if-modified-since": "Fri Jan 15 07:59:59 2027"}) == ""


WHOLE = Checksum("CRC32", "AAAAAA==-3", "COMPOSITE")
IN_PARTS = Object(13, "abc-3", 1, "null", Attributes(), [], parts=[(1, 5, ""), (3, 7, ""), (9, 1, "")])


@pytest.mark.parametrize(("number", "span"), [("1", (0, 5)), ("3", (5, 7)), ("9", (12, 1))])
def test_parts_go_by_their_own_numbers(number: str, span: tuple[int, int]) -> None:
    assert part_range(request("GET", f"/b/k?partNumber={number}"), IN_PARTS)[:2] == span


@pytest.mark.parametrize(
    ("number", "code"),
    [("2", "InvalidPartNumber"), ("10", "InvalidPartNumber"), *((each, "InvalidArgument") for each in ("", "0", "x"))],
)
def test_parts_that_there_are_not(number: str, code: str) -> None:
    with pytest.raises(S3Error, match=code):
        part_range(request("GET", f"/b/k?partNumber={number}"), IN_PARTS)


def test_what_came_whole_is_one_part() -> None:
    assert part_range(request("GET", "/b/k?partNumber=1"), FOUND)[:2] == (0, 3)
    with pytest.raises(S3Error, match="InvalidPartNumber"):
        part_range(request("GET", "/b/k?partNumber=2"), FOUND)
