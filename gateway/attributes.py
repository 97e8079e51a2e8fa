"""What a client stores with an object: system headers and user metadata, from a request's headers and back to them.

What is not ASCII comes back in the bytes that it came in: Latin-1, or UTF-8. Only of metadata that no Latin-1 can hold S3
makes encoded words (RFC 2047), which are ASCII.
"""

from base64 import b64encode
from collections.abc import Collection, Mapping
from email.utils import formatdate
from functools import lru_cache

from gateway.errors import S3Error, invalid_argument
from gateway.request import Request
from topics.objects import Attributes, Checksum, Preconditions

METADATA_BYTES_MAX = 2 << 10  # S3: names and values of the user metadata together
SYSTEM = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
)
_META = "x-amz-meta-"
_WORD_BYTES_MAX = 45  # of UTF-8 in an encoded word, which has at most 75 characters (RFC 2047 §2)
_DATES_KEPT = 4096  # written out: of objects that are asked for again
_UNSUPPORTED = ("x-amz-server-side-encryption", "x-amz-object-lock-", "x-amz-tagging")  # so they begin
OWNER_ONLY_ACLS = ("private", "bucket-owner-read", "bucket-owner-full-control")  # the same while there is one user
CANNED_ACLS = (
    *OWNER_ONLY_ACLS,
    "public-read",
    "public-read-write",
    "authenticated-read",
    "aws-exec-read",
    "log-delivery-write",
)
_STORAGE_CLASSES = {  # of S3's general purpose buckets; here they are names only
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "GLACIER_IR",
    "DEEP_ARCHIVE",
}
_UNCONDITIONAL = Preconditions()
_REDIRECT = "x-amz-website-redirect-location"


def from_headers(headers: Mapping[str, str], in_utf8: Collection[str] = ()) -> Attributes:
    """`in_utf8`: names of headers that came in UTF-8.

    Raises MetadataTooLarge, InvalidStorageClass, InvalidRedirectLocation, InvalidArgument for an ACL that is none, or
    NotImplemented for what would silently be lost.
    """
    for name, value in headers.items():
        if name.startswith(_UNSUPPORTED) and (value or name != "x-amz-tagging") and not name.endswith("-directive"):
            raise S3Error("NotImplemented", f"{name} is not implemented yet.")
    storage_class = headers.get("x-amz-storage-class", "STANDARD")
    if storage_class not in _STORAGE_CLASSES:
        raise S3Error("InvalidStorageClass", StorageClassRequested=storage_class)
    if "x-amz-acl" in headers:
        check_acl("x-amz-acl", headers["x-amz-acl"])
    if not headers.get(_REDIRECT, "/").startswith(("/", "http://", "https://")):
        raise S3Error("InvalidRedirectLocation")
    metadata = {name.removeprefix(_META): value for name, value in headers.items() if name.startswith(_META)}
    size = sum(len(name) + (len(value) if value.isascii() else len(value.encode())) for name, value in metadata.items())
    if size > METADATA_BYTES_MAX:
        raise S3Error("MetadataTooLarge", Size=size, MaxSizeAllowed=METADATA_BYTES_MAX)
    system = {name: headers[name] for name in SYSTEM if name in headers}
    if "aws-chunked" in system.get("content-encoding", ""):  # tells how the body came, not what the object is
        kept = [each.strip() for each in system.pop("content-encoding").split(",") if each.strip() != "aws-chunked"]
        if kept:
            system["content-encoding"] = ", ".join(kept)
    content_type = headers.get("content-type") or "binary/octet-stream"
    marked = tuple(name for name in sorted(in_utf8) if name in ("content-type", *SYSTEM)) if in_utf8 else ()
    return Attributes(content_type, system, metadata, storage_class, marked)


def check_acl(name: str, value: str) -> None:
    """Raises InvalidArgument for what is no canned ACL."""
    if value not in CANNED_ACLS:
        raise invalid_argument(name, value, "The canned ACL is not valid.")


def to_headers(attributes: Attributes) -> list[tuple[str, str]]:
    """Values with a character for each byte, as all headers of a `Response`."""
    headers = [("content-type", attributes.content_type), *attributes.headers.items()]
    headers += [(_META + name, value) for name, value in attributes.metadata.items()]
    for at, (name, value) in enumerate(headers):
        if not value.isascii():
            headers[at] = (name, _in_bytes(value, is_metadata=name.startswith(_META), in_utf8=name in attributes.in_utf8))
    if attributes.storage_class != "STANDARD":
        headers.append(("x-amz-storage-class", attributes.storage_class))
    return headers


def _in_bytes(value: str, *, is_metadata: bool, in_utf8: bool) -> str:
    """S3 gives metadata in Latin-1 where they fit, however they came; else as encoded words. System headers come back as
    they came.
    """
    fits = max(value) <= "\xff"
    if fits and (is_metadata or not in_utf8):
        return value
    return _encoded_words(value) if is_metadata else value.encode().decode("latin-1")


def _encoded_words(text: str) -> str:
    words, word = [], b""
    for each in text:
        if len(word) + len(each.encode()) > _WORD_BYTES_MAX:
            words.append(word)
            word = b""
        word += each.encode()
    return " ".join(f"=?UTF-8?B?{b64encode(each).decode()}?=" for each in [*words, word])


def checksum_headers(checksum: Checksum | None) -> list[tuple[str, str]]:
    if checksum is None:
        return []
    return [(f"x-amz-checksum-{checksum.algorithm.lower()}", checksum.value), ("x-amz-checksum-type", checksum.kind)]


def preconditions(request: Request) -> Preconditions:
    """Of a write: If-Match and If-None-Match. Raises NotImplemented for an If-None-Match of no ETag, or of several."""
    match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if match is None and none_match is None:
        return _UNCONDITIONAL
    if none_match is not None:
        none_match = none_match.removeprefix("W/")
        if not none_match.strip('"') or "," in none_match:
            raise S3Error("NotImplemented", Header="If-None-Match")
    return Preconditions(condition(match), condition(none_match))


def condition(etag: str | None) -> str:
    """Of `Preconditions`: nothing for None. What names no ETag is a condition that no object meets, and not none."""
    if etag is None or etag == "*":
        return etag or ""
    text = etag.strip('"')
    return f'"{text}"' if text in ("", "*") else text


@lru_cache(_DATES_KEPT)
def last_modified(modified_ms: int) -> str:
    """As HTTP writes a date (RFC 9110 §5.6.7), from Unix milliseconds."""
    return formatdate(modified_ms // 1000, usegmt=True)
