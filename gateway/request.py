"""A request as the S3 operations see it: bucket, key, decoded query, headers by lower-case name.

What stands in the query of a presigned URL instead of in a header (x-amz-meta-a, x-amz-acl) is a header here: SDKs put it
there so that who uses the URL need not know of it.
Bounds: headers 16 KiB together, keys 1,024 bytes (S3), everything UTF-8.
"""

import os
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Receive, Scope

from gateway.errors import S3Error, invalid_argument
from topics.spec import bucket_partition

HEADER_BYTES_MAX = 16 << 10
KEY_BYTES_MAX = 1024
RESERVED_NAMES = ("healthz", "readyz")  # where they are asked for, no bucket would be seen
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110 §5.6.2, in lower case
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # what no header's value can hold
_OF_SIGNATURES = frozenset(  # and so no headers
    f"x-amz-{each}" for each in ("algorithm", "credential", "date", "expires", "signature", "signedheaders")
)
_OF_VERSION_2 = ("content-md5", "content-type")  # also in the query of its presigned URLs, as botocore makes them
_NONE = frozenset[str]()


class Request:
    __slots__ = (
        "bucket",
        "headers",
        "hoisted",
        "id",
        "in_utf8",
        "is_drained",
        "is_virtual_host",
        "key",
        "method",
        "path",
        "principal",
        "query",
        "raw_path",
        "read",
        "receive",
        "received_bytes",
        "repeated",
        "scheme",
        "signing",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        """Never fails: whatever was sent has an id and a path. `parse` takes the rest in; before it nobody is signed."""
        self.id = new_id()
        self.method: str = scope["method"]
        self.read = 0  # of `OpenReads`, ended with the request
        self.scheme: str = scope.get("scheme", "http")
        self.path: str = scope["path"]
        self.bucket = self.key = ""
        self.query: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.hoisted: frozenset[str] = _NONE  # headers that stand in the query
        self.repeated: list[tuple[str, str]] = []  # of the query: names that were there before, whose first value counts
        self.in_utf8: frozenset[str] = _NONE  # headers with characters beyond ASCII in UTF-8, not in Latin-1
        self.raw_path = ""  # as it was sent, percent-encoded
        self.is_virtual_host = False  # whether the host names the bucket
        self.is_drained = False  # whether the whole body was read; an answer before that must end the connection
        self.receive = receive
        self.received_bytes = 0  # of the body, as it came
        self.principal = ""
        self.signing: Any = None  # set by authentication where chunks of the body are signed too

    def parse(self, scope: Scope, domain: str) -> "Request":
        """Itself. Raises InvalidURI, KeyTooLongError or RequestHeaderSectionTooLarge."""
        size = 0
        for raw_name, raw_value in scope["headers"]:
            size += len(raw_name) + len(raw_value)
            name = raw_name.decode("latin-1")
            if raw_value.isascii():
                value = raw_value.decode("ascii")
            else:
                value = _text(raw_value)
                if len(value) != len(raw_value):
                    self.in_utf8 |= {name}
            value = value.strip(" \t")
            self.headers[name] = f"{self.headers[name]},{value}" if name in self.headers else value
        self.is_drained = self.headers.get("content-length", "0") == "0" and "transfer-encoding" not in self.headers
        if size > HEADER_BYTES_MAX:
            raise S3Error("RequestHeaderSectionTooLarge", MaxSizeAllowed=HEADER_BYTES_MAX)
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        self.raw_path, self.path = raw_path.decode("latin-1"), _decode(raw_path)
        self.bucket, self.key = self._address(domain)
        for field in scope["query_string"].split(b"&"):
            if field:
                raw_name, _, raw_value = field.partition(b"=")
                name, value = _decode(raw_name.replace(b"+", b" ")), _decode(raw_value.replace(b"+", b" "))
                if name in self.query:
                    self.repeated.append((name, value))
                else:
                    self.query[name] = value
        if "X-Amz-Signature" in self.query:
            self._take_headers_from_query(())
        elif "Signature" in self.query and "AWSAccessKeyId" in self.query:
            self._take_headers_from_query(_OF_VERSION_2)
        check_key(self.key)
        return self

    def _take_headers_from_query(self, more: tuple[str, ...]) -> None:
        """x-amz-* and `more`. A header that is there too counts: it must be signed as well, or nothing is done.

        Raises InvalidArgument for what no header can hold, or for a name twice.
        """
        found: dict[str, str] = {}
        for name, value in self.query.items():
            lower = name.lower()
            if (lower.startswith("x-amz-") or lower in more) and lower not in _OF_SIGNATURES:
                if lower in found or not _HEADER_NAME.fullmatch(lower) or _CONTROL.search(value):
                    raise invalid_argument(name, value, f"The query parameter {name} cannot stand for a header.")
                found[lower] = value.strip(" \t")
        self.hoisted = frozenset(found.keys() - self.headers.keys())
        self.in_utf8 |= {name for name in self.hoisted if not found[name].isascii()}
        self.headers = found | self.headers

    @property
    def partition(self) -> int:
        """Of the metadata that the bucket lives in."""
        return bucket_partition(self.bucket)

    def url(self, key: str) -> str:
        """Where an object of the bucket is, in the style that this request came in."""
        root = "" if self.is_virtual_host else f"/{self.bucket}"
        return f"{self.scheme}://{self.headers.get('host', '')}{root}/{quote(key, safe='/-_.~')}"

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A number of the query, cut to `high`. Raises InvalidArgument."""
        text = self.query.get(name, "")
        if not text:
            return default
        if not re.fullmatch(r"-?[0-9]{1,12}", text) or int(text) < low:
            raise invalid_argument(name, text, f"Provided {name} not an integer or within integer range")
        return min(int(text), high)

    def _address(self, domain: str) -> tuple[str, str]:
        """Virtual-host style where the host ends with the domain, else path style."""
        host = self.headers.get("host", "").partition(":")[0].lower()
        if domain and host.endswith("." + domain.lower()):
            self.is_virtual_host = True
            return host.removesuffix("." + domain.lower()), self.path[1:]
        bucket, _, key = self.path[1:].partition("/")
        return bucket, key


def new_id() -> str:
    """16 characters, as S3's have."""
    return os.urandom(8).hex().upper()


def check_key(key: str) -> None:
    """Raises KeyTooLongError, or InvalidURI for one that climbs out of its bucket (S3 User Guide: Naming objects)."""
    if len(key) > KEY_BYTES_MAX // 4 and (size := len(key.encode())) > KEY_BYTES_MAX:
        raise S3Error("KeyTooLongError", Size=size, MaxSizeAllowed=KEY_BYTES_MAX)
    if ".." in key and _climbs_out(key):
        raise S3Error("InvalidURI")


def _climbs_out(key: str) -> bool:
    """Whether, from the left, there are ever more ".." than names before them."""
    depth = 0
    for part in key.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return True
    return False


def is_bucket_name(name: str) -> bool:
    """S3 API: Bucket naming rules; "--at--" is reserved for views of the past, some names for who looks after the store."""
    return (
        _BUCKET_NAME.fullmatch(name) is not None
        and name not in RESERVED_NAMES
        and ".." not in name
        and _ADDRESS.fullmatch(name) is None
        and "--at--" not in name
        and not name.startswith(("xn--", "sthree-"))
        and not name.endswith(("-s3alias", "--ol-s3"))
    )


def http_date(text: str) -> datetime | None:
    """RFC 9110 §5.6.7: a date that names no zone is in UTC. None where it is no date."""
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=date.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _text(raw: bytes) -> str:
    """UTF-8 where it is, as SDKs sign it; else Latin-1, as HTTP once said."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _decode(raw: bytes) -> str:
    try:
        text = unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise S3Error("InvalidURI") from None
    if "\0" in text:
        raise S3Error("InvalidURI", "NUL is not allowed.")
    return text
