"""Checksums against their published check values and hashlib, the forms of them in headers, and what a body is held to."""

import base64
import hashlib
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import checksums
from gateway.errors import S3Error
from topics.objects import Checksum

CHECK = b"123456789"  # what catalogues of CRCs give the value of
VALUES = {
    "CRC32": bytes.fromhex("cbf43926"),
    "CRC32C": bytes.fromhex("e3069283"),  # RFC 3720 names it
    "CRC64NVME": bytes.fromhex("ae8b14860a799888"),
    "SHA1": hashlib.sha1(CHECK).digest(),
    "SHA256": hashlib.sha256(CHECK).digest(),
    "SHA512": hashlib.sha512(CHECK).digest(),
    "MD5": hashlib.md5(CHECK).digest(),
    "XXHASH64": bytes.fromhex("8cb841db40e6ae83"),  # as the package xxhash has them, most significant byte first
    "XXHASH3": bytes.fromhex("72dcb18b67a17dff"),
    "XXHASH128": bytes.fromhex("33119477ede5dcd5e9716427681d5860"),
}
EMPTY = {"CRC32": bytes(4), "CRC32C": bytes(4), "CRC64NVME": bytes(8)}


def base64_of(value: bytes) -> str:
    return base64.b64encode(value).decode()


def header(algorithm: str, value: bytes) -> dict[str, str]:
    return {f"x-amz-checksum-{algorithm.lower()}": base64_of(value)}


def refused(headers: dict[str, str], trailers: dict[str, str] | None = None, trailer: str = "", signed: str = "") -> str:
    with pytest.raises(S3Error) as raised:
        digests = checksums.BodyDigests(headers, trailer, signed=signed)
        digests.update(CHECK)
        digests.finish(trailers or {})
    return raised.value.code


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_the_published_values(algorithm: str) -> None:
    digest = checksums.new(algorithm)
    if algorithm in EMPTY:
        assert digest.digest() == EMPTY[algorithm]
    digest.update(CHECK)
    assert digest.digest() == VALUES[algorithm]


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 200), max_size=5))
def test_pieces_make_no_difference(data: bytes, cuts: list[int]) -> None:
    for algorithm in (*checksums.ALGORITHMS, "MD5"):
        whole, pieces = checksums.new(algorithm), checksums.new(algorithm)
        whole.update(data)
        for start, end in pairwise([0, *sorted(cuts), 200]):
            pieces.update(data[start:end])
        assert pieces.digest() == whole.digest()
    assert int.from_bytes(checksum_of("CRC32", data), "big") == zlib.crc32(data)
    assert checksum_of("MD5", data) == hashlib.md5(data).digest()


def checksum_of(algorithm: str, data: bytes) -> bytes:
    digest = checksums.new(algorithm)
    digest.update(data)
    return digest.digest()


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_the_one_that_is_given(algorithm: str) -> None:
    headers = header(algorithm, VALUES[algorithm])
    assert checksums.given(headers) == Checksum(algorithm, base64_of(VALUES[algorithm]))
    assert checksums.given({"x-amz-meta-a": "1"}) is None
    other = next(each for each in checksums.ALGORITHMS if each != algorithm)
    with pytest.raises(S3Error, match="InvalidRequest"):
        checksums.given(headers | header(other, VALUES[other]))


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_the_form_of_a_checksum(algorithm: str) -> None:
    value = VALUES[algorithm]
    checksums.check_form(algorithm, base64_of(value))
    checksums.check_form(algorithm, f"{base64_of(value)}-3")  # of an upload in parts
    good = base64_of(value)
    for wrong in ("", "?", "ü", value.hex(), base64_of(value[:-1]), base64_of(value + b"x"), f" {good}", f"{good}\n"):
        with pytest.raises(S3Error, match="InvalidRequest"):
            checksums.check_form(algorithm, wrong)


@pytest.mark.parametrize(
    ("headers", "algorithm"),
    [
        ({}, ""),
        ({"x-amz-sdk-checksum-algorithm": "CRC32"}, "CRC32"),
        ({"x-amz-sdk-checksum-algorithm": "sha256"}, "SHA256"),
        ({"x-amz-checksum-algorithm": "CRC64NVME"}, "CRC64NVME"),
        ({"x-amz-checksum-algorithm": "SHA1", "x-amz-sdk-checksum-algorithm": "CRC32"}, "SHA1"),
    ],
)
def test_the_algorithm_that_is_wanted(headers: dict[str, str], algorithm: str) -> None:
    assert checksums.wanted_algorithm(headers) == algorithm


@pytest.mark.parametrize("name", ["", "MD4", "CRC", "SHA-256", "CRC32 ", "CRC32,SHA1", "XXHASH"])
def test_an_algorithm_that_there_is_not(name: str) -> None:
    for header_name in ("x-amz-checksum-algorithm", "x-amz-sdk-checksum-algorithm"):
        with pytest.raises(S3Error, match="InvalidRequest"):
            checksums.wanted_algorithm({header_name: name})


def test_content_md5() -> None:
    value = hashlib.md5(CHECK).digest()
    assert checksums.content_md5({}) is None
    assert checksums.content_md5({"content-md5": base64_of(value)}) == value
    for wrong in ("", "?", "ü", value.hex(), base64_of(value[:-1]), base64_of(value + b"x"), f"{base64_of(value)}\n"):
        with pytest.raises(S3Error, match="InvalidDigest"):
            checksums.content_md5({"content-md5": wrong})


@pytest.mark.parametrize(
    ("headers", "trailer", "algorithm"),
    [
        ({}, "", "CRC64NVME"),
        ({"x-amz-checksum-algorithm": "CRC32"}, "", "CRC32"),
        ({"x-amz-sdk-checksum-algorithm": "sha1"}, "SHA1", "SHA1"),
        ({"x-amz-sdk-checksum-algorithm": "SHA256"} | header("SHA256", VALUES["SHA256"]), "", "SHA256"),
    ],
    ids=["none", "wanted", "announced", "given"],
)
def test_which_checksum_a_body_gets(headers: dict[str, str], trailer: str, algorithm: str) -> None:
    digests = checksums.BodyDigests(headers, trailer, signed="")
    digests.update(CHECK[:4])
    digests.update(CHECK[4:])
    told = Checksum(algorithm, base64_of(VALUES[algorithm]))
    assert digests.finish({}) == (hashlib.md5(CHECK).hexdigest(), told)


@pytest.mark.parametrize("algorithm", checksums.ALGORITHMS)
def test_a_body_is_held_to_its_checksum(algorithm: str) -> None:
    right, wrong = header(algorithm, VALUES[algorithm]), header(algorithm, bytes(len(VALUES[algorithm])))
    digests = checksums.BodyDigests(right, algorithm, signed=hashlib.sha256(CHECK).hexdigest())
    digests.update(CHECK)
    assert digests.finish(right)[1].algorithm == algorithm
    assert refused(wrong) == "BadDigest"
    assert refused({}, wrong, algorithm) == "BadDigest"
    assert refused(right, wrong, algorithm) == "BadDigest"
    assert refused({}, {f"x-amz-checksum-{algorithm.lower()}": "?"}, algorithm) == "InvalidRequest"


def test_what_an_sdk_announces_must_come() -> None:
    """S3 API, PutObject, x-amz-sdk-checksum-algorithm."""
    for announced in ("CRC32", "XXHASH3"):
        name = {"x-amz-sdk-checksum-algorithm": announced}
        assert refused(name) == "InvalidRequest"
        assert refused(name | header("SHA256", VALUES["SHA256"])) == "InvalidRequest"
        assert refused(name, trailer="SHA1") == "InvalidRequest"


def test_a_checksum_by_what_s3_does_not_have_is_refused() -> None:
    for name in ("x-amz-checksum-md4", "x-amz-checksum-sha3", "x-amz-checksum-crc", "x-amz-checksum-"):
        assert refused({name: "AAAA"}) == "InvalidRequest"
        assert refused({}, {name: "AAAA"}) == "InvalidRequest"
    others = {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-mode": "ENABLED", "x-amz-checksum-type": "COMPOSITE"}
    assert checksums.given(others) is None


def test_where_nobody_names_one_it_is_that_of_the_upload() -> None:
    assert checksums.BodyDigests({}, "", signed="", default="XXHASH128").algorithm == "XXHASH128"
    assert checksums.BodyDigests(header("MD5", VALUES["MD5"]), "", signed="", default="XXHASH128").algorithm == "MD5"


def test_a_checksum_that_was_not_computed_is_never_taken_for_right() -> None:
    assert refused({}, header("SHA1", VALUES["SHA1"]), "CRC32") == "BadDigest"
    assert refused({}, header("SHA1", VALUES["SHA1"])) == "BadDigest"
    composite = {"x-amz-checksum-crc32": f"{base64_of(VALUES['CRC32'])}-1"}
    assert refused(composite) == "BadDigest"


def test_the_signed_digest_comes_first() -> None:
    wrong = {"content-md5": base64_of(bytes(16))} | header("CRC32", bytes(4))
    assert refused(wrong, signed="0" * 64) == "XAmzContentSHA256Mismatch"
    assert refused(wrong, signed=hashlib.sha256(CHECK).hexdigest()) == "BadDigest"
