"""The digests of a body while it passes: MD5 for the ETag, SHA-256 for the signature, S3's additional checksums."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Protocol

from awscrt import checksums

from gateway.errors import S3Error
from topics.objects import Checksum

ALGORITHMS = ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256")
DEFAULT = "CRC64NVME"  # what S3 adds where a client names none
_WIDTH = {"CRC32": 4, "CRC32C": 4, "CRC64NVME": 8, "SHA1": 20, "SHA256": 32}


class Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc:
    def __init__(self, function: Callable[[bytes, int], int], width: int) -> None:
        self._function, self._width, self._value = function, width, 0

    def update(self, data: bytes, /) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


def new(algorithm: str) -> Digest:
    match algorithm:
        case "CRC32":
            return _Crc(checksums.crc32, 4)
        case "CRC32C":
            return _Crc(checksums.crc32c, 4)
        case "CRC64NVME":
            return _Crc(checksums.crc64nvme, 8)
        case "MD5":
            return hashlib.md5(usedforsecurity=False)
        case "SHA1":
            return hashlib.sha1(usedforsecurity=False)
        case _:
            return hashlib.sha256()


def given(headers: dict[str, str]) -> Checksum | None:
    """The one x-amz-checksum-* of the headers, if any. Raises InvalidRequest for two, or for one that is none."""
    found = [a for a in ALGORITHMS if f"x-amz-checksum-{a.lower()}" in headers]
    if len(found) > 1:
        raise S3Error(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    if not found:
        return None
    value = headers[f"x-amz-checksum-{found[0].lower()}"]
    check_form(found[0], value)
    return Checksum(found[0], value)


def check_form(algorithm: str, value: str) -> None:
    try:
        is_whole = len(base64.b64decode(value.partition("-")[0], validate=True)) == _WIDTH[algorithm]
    except ValueError:  # also of what is not ASCII
        is_whole = False
    if not is_whole:
        raise S3Error("InvalidRequest", f"Value for x-amz-checksum-{algorithm.lower()} header is invalid.")


def wanted_algorithm(headers: dict[str, str]) -> str:
    """By x-amz-sdk-checksum-algorithm or x-amz-checksum-algorithm; empty where neither is there."""
    name = headers.get("x-amz-checksum-algorithm", headers.get("x-amz-sdk-checksum-algorithm", "")).upper()
    if name and name not in ALGORITHMS:
        raise S3Error("InvalidRequest", "Checksum algorithm provided is unsupported.")
    return name


def content_md5(headers: dict[str, str]) -> bytes | None:
    """Raises InvalidDigest."""
    text = headers.get("content-md5")
    if text is None:
        return None
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:
        value = b""
    if len(value) != 16:
        raise S3Error("InvalidDigest")
    return value


class BodyDigests:
    """Feeds every digest a body needs, and compares them at its end."""

    def __init__(self, headers: dict[str, str], trailer: str, *, signed: str) -> None:
        self._given = given(headers)
        self._md5_given = content_md5(headers)
        self._signed = signed
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256() if signed else None
        algorithm = self._given.algorithm if self._given else trailer or wanted_algorithm(headers) or DEFAULT
        self.algorithm = algorithm
        self._checksum = new(algorithm)

    def update(self, data: bytes) -> None:
        self._md5.update(data)
        if self._sha256 is not None:
            self._sha256.update(data)
        self._checksum.update(data)

    def finish(self, trailers: dict[str, str]) -> tuple[str, Checksum]:
        """(ETag, checksum). Raises BadDigest or XAmzContentSHA256Mismatch."""
        if self._sha256 is not None and not hmac.compare_digest(self._sha256.hexdigest(), self._signed):
            raise S3Error("XAmzContentSHA256Mismatch")
        if self._md5_given is not None and self._md5_given != self._md5.digest():
            raise S3Error("BadDigest", "The Content-MD5 you specified did not match what we received.")
        value = base64.b64encode(self._checksum.digest()).decode()
        for wanted in (self._given, given(trailers)):
            if wanted is not None and wanted != Checksum(self.algorithm, value):
                raise S3Error("BadDigest", f"The {wanted.algorithm} you specified did not match the calculated checksum.")
        return self._md5.hexdigest(), Checksum(self.algorithm, value)
