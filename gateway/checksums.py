"""The digests of a body while it passes: MD5 for the ETag, SHA-256 for the signature, S3's additional checksums."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Protocol

from awscrt import checksums
from awscrt.checksums import XXHash

from gateway.errors import S3Error
from topics.objects import Checksum

DEFAULT = "CRC64NVME"  # what S3 adds where a client names none
FULL_OBJECT = ("CRC32", "CRC32C", "CRC64NVME")  # of an upload in parts: the sums of parts can be combined
_PREFIX = "x-amz-checksum-"
_BY_CLIENT = "x-amz-checksum-algorithm"
_BY_SDK = "x-amz-sdk-checksum-algorithm"
_UNSUPPORTED = "Checksum algorithm provided is unsupported. Please try again with any of the valid types:"
_NO_VALUES = (f"{_PREFIX}algorithm", f"{_PREFIX}mode", f"{_PREFIX}type")


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


class _XxHash:
    def __init__(self, hash_: XXHash) -> None:
        self.update, self.digest = hash_.update, hash_.finalize


_ALGORITHMS: dict[str, tuple[int, Callable[[], Digest]]] = {  # bytes of a value, and what computes it
    "CRC32": (4, lambda: _Crc(checksums.crc32, 4)),
    "CRC32C": (4, lambda: _Crc(checksums.crc32c, 4)),
    "CRC64NVME": (8, lambda: _Crc(checksums.crc64nvme, 8)),
    "SHA1": (20, lambda: hashlib.sha1(usedforsecurity=False)),
    "SHA256": (32, hashlib.sha256),
    "SHA512": (64, hashlib.sha512),
    "MD5": (16, lambda: hashlib.md5(usedforsecurity=False)),
    "XXHASH64": (8, lambda: _XxHash(XXHash.new_xxhash64())),
    "XXHASH3": (8, lambda: _XxHash(XXHash.new_xxhash3_64())),
    "XXHASH128": (16, lambda: _XxHash(XXHash.new_xxhash3_128())),
}
ALGORITHMS = tuple(_ALGORITHMS)
_SLOW = ("SHA1", "SHA256", "SHA512")


def header(algorithm: str) -> str:
    return _PREFIX + algorithm.lower()


_OF_HEADER = {header(each): each for each in ALGORITHMS}


def new(algorithm: str) -> Digest:
    return _ALGORITHMS[algorithm][1]()


def given(headers: dict[str, str]) -> Checksum | None:
    """The one x-amz-checksum-* of the headers, if any. Raises InvalidRequest for two, or for one that is none."""
    found = [name for name in headers if name.startswith(_PREFIX) and name not in _NO_VALUES]
    if not found:
        return None
    if len(found) > 1:
        raise S3Error(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    algorithm = _OF_HEADER.get(found[0])
    if algorithm is None:
        raise S3Error("InvalidRequest", f"The checksum algorithm of the header {found[0]} is not supported.")
    check_form(algorithm, headers[found[0]])
    return Checksum(algorithm, headers[found[0]])


def check_form(algorithm: str, value: str) -> None:
    try:
        is_whole = len(base64.b64decode(value.partition("-")[0], validate=True)) == _ALGORITHMS[algorithm][0]
    except ValueError:  # also of what is not ASCII
        is_whole = False
    if not is_whole:
        raise S3Error("InvalidRequest", f"Value for x-amz-checksum-{algorithm.lower()} header is invalid.")


def wanted_algorithm(headers: dict[str, str]) -> str:
    """By x-amz-checksum-algorithm, else x-amz-sdk-checksum-algorithm; empty where neither is there.

    Raises InvalidRequest for another than S3 has.
    """
    name = headers.get(_BY_CLIENT, headers.get(_BY_SDK))
    if name is None:
        return ""
    if name.upper() not in _ALGORITHMS:
        raise S3Error("InvalidRequest", f"{_UNSUPPORTED} [{', '.join(ALGORITHMS)}]")
    return name.upper()


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
        raise S3Error("InvalidDigest", "", (), **{"Content-MD5": text})
    return value


class BodyDigests:
    """Feeds every digest a body needs, and compares them at its end."""

    def __init__(self, headers: dict[str, str], trailer: str, *, signed: str, default: str = DEFAULT) -> None:
        """`trailer`: the algorithm of the checksum that comes after the body; `default`: where a client names none.

        Raises InvalidRequest or InvalidDigest.
        """
        self._given = given(headers)
        self._md5_given = content_md5(headers)
        self._signed = signed
        self.algorithm = _named(headers, self._given.algorithm if self._given else trailer) or default
        self.md5 = new("MD5")
        self._sha256 = new("SHA256") if signed else None
        known = {"MD5": self.md5, "SHA256": self._sha256}.get(self.algorithm)
        self._checksum = known or new(self.algorithm)
        others = [self._sha256, None if known else self._checksum]
        self._others: list[Digest] = [each for each in others if each is not None]
        self.are_others_slow = self._sha256 is not None or self.algorithm in _SLOW

    def update(self, data: bytes) -> None:
        self.md5.update(data)
        self.update_others(data)

    def update_others(self, data: bytes) -> None:
        """All but `md5`."""
        for each in self._others:
            each.update(data)

    def finish(self, trailers: dict[str, str]) -> tuple[str, Checksum]:
        """(ETag, checksum). Raises BadDigest or XAmzContentSHA256Mismatch."""
        if self._sha256 is not None and not hmac.compare_digest(self._sha256.digest().hex(), self._signed):
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                ClientComputedContentSHA256=self._signed,
                S3ComputedContentSHA256=self._sha256.digest().hex(),
            )
        if self._md5_given is not None and self._md5_given != self.md5.digest():
            given_md5, md5 = (base64.b64encode(each).decode() for each in (self._md5_given, self.md5.digest()))
            raise S3Error("BadDigest", ExpectedDigest=given_md5, CalculatedDigest=md5)
        value = base64.b64encode(self._checksum.digest()).decode()
        for wanted in (self._given, given(trailers)):
            if wanted is not None and wanted != Checksum(self.algorithm, value):
                raise S3Error("BadDigest", f"The {wanted.algorithm} you specified did not match the calculated checksum.")
        return self.md5.digest().hex(), Checksum(self.algorithm, value)


def _named(headers: dict[str, str], sent: str) -> str:
    """The algorithm of a body whose checksum by `sent`, or none, comes with it. Raises InvalidRequest where an SDK says
    otherwise (S3 API: PutObject, x-amz-sdk-checksum-algorithm)."""
    wanted = wanted_algorithm(headers)
    if _BY_SDK not in headers:
        return sent or wanted
    if not sent:
        raise S3Error(
            "InvalidRequest",
            f"{_BY_SDK} specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
        )
    if headers[_BY_SDK].upper() != sent:
        raise S3Error("InvalidRequest", f"Value for {_BY_SDK} header is invalid.")
    return sent
