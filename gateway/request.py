"""A request as the S3 operations see it: bucket, key, decoded query, headers by lower-case name.

Bounds: headers 16 KiB together, keys 1,024 bytes (S3), everything UTF-8.
"""

import re
import secrets
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from starlette.types import Receive, Scope

from gateway.errors import S3Error
from topics.spec import bucket_partition

HEADER_BYTES_MAX = 16 << 10
KEY_BYTES_MAX = 1024
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")


class Request:
    __slots__ = (
        "bucket",
        "headers",
        "id",
        "is_drained",
        "key",
        "method",
        "path",
        "principal",
        "query",
        "receive",
        "received_bytes",
        "scheme",
        "signing",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        """Never fails: whatever was sent has an id and a path. `parse` takes the rest in; before it nobody is signed."""
        self.id = secrets.token_hex(8).upper()
        self.method: str = scope["method"]
        self.scheme: str = scope.get("scheme", "http")
        self.path: str = scope["path"]
        self.bucket = self.key = ""
        self.query: dict[str, str] = {}
        self.headers: dict[str, str] = {}
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
            name, value = raw_name.decode("latin-1"), _text(raw_value).strip()
            self.headers[name] = f"{self.headers[name]},{value}" if name in self.headers else value
        self.is_drained = self.headers.get("content-length", "0") == "0" and "transfer-encoding" not in self.headers
        if size > HEADER_BYTES_MAX:
            raise S3Error("RequestHeaderSectionTooLarge", MaxSizeAllowed=HEADER_BYTES_MAX)
        self.path = _decode(scope.get("raw_path") or scope["path"].encode())
        self.bucket, self.key = self._address(domain)
        for field in scope["query_string"].split(b"&"):
            if field:
                name_, _, value_ = field.partition(b"=")
                self.query[_decode(name_.replace(b"+", b" "))] = _decode(value_.replace(b"+", b" "))
        check_key(self.key)
        return self

    @property
    def partition(self) -> int:
        """Of the metadata that the bucket lives in."""
        return bucket_partition(self.bucket)

    def url(self, key: str) -> str:
        """Where an object of the bucket is, in the style that this request came in."""
        root = "" if self.path[1:] == self.key else f"/{self.bucket}"
        return f"{self.scheme}://{self.headers.get('host', '')}{root}/{quote(key, safe='/-_.~')}"

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A number of the query, cut to `high`. Raises InvalidArgument."""
        text = self.query.get(name, "")
        if not text:
            return default
        if not re.fullmatch(r"-?[0-9]{1,12}", text) or int(text) < low:
            raise S3Error("InvalidArgument", f"Provided {name} not an integer or within integer range")
        return min(int(text), high)

    def _address(self, domain: str) -> tuple[str, str]:
        """Virtual-host style where the host ends with the domain, else path style."""
        host = self.headers.get("host", "").partition(":")[0].lower()
        if domain and host.endswith("." + domain):
            return host.removesuffix("." + domain), self.path[1:]
        bucket, _, key = self.path[1:].partition("/")
        return bucket, key


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
    """S3 API: Bucket naming rules; "--at--" is reserved for views of the past."""
    return (
        _BUCKET_NAME.fullmatch(name) is not None
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
