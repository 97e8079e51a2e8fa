"""The checksum of a completed upload, from its parts', against the checksum of the whole."""

import base64
import hashlib
import zlib

import pytest
from awscrt import checksums

from processors.machine.complete import PART_BYTES_MIN
from tests.processors.machine import Machine, blob_id
from topics import commands
from topics.objects import Attributes, Checksum, Extent
from topics.replies import Reply

B, K, U = "bucket", "key", "upload"
DATA = [bytes([number]) * size for number, size in ((1, PART_BYTES_MIN), (2, PART_BYTES_MIN + 7), (3, 11))]
WHOLE = b"".join(DATA)
COMPOSITE = {"CRC32", "CRC32C", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"}


def digest(algorithm: str, data: bytes) -> bytes:
    match algorithm:
        case "CRC32":
            return zlib.crc32(data).to_bytes(4, "big")
        case "CRC32C":
            return int(checksums.crc32c(data)).to_bytes(4, "big")
        case "CRC64NVME":
            return int(checksums.crc64nvme(data)).to_bytes(8, "big")
        case "XXHASH64":
            return bytes(checksums.XXHash.compute_xxhash64(data))
        case "XXHASH3":
            return bytes(checksums.XXHash.compute_xxhash3_64(data))
        case "XXHASH128":
            return bytes(checksums.XXHash.compute_xxhash3_128(data))
        case _:
            return hashlib.new(algorithm, data).digest()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def completed(algorithm: str, kind: str, checksum: Checksum | None = None, *, part_algorithm: str = "") -> Reply:
    machine = Machine()
    machine.send(commands.CreateBucket(B, "i" * 32, ""))
    machine.send(commands.CreateUpload(B, K, U, algorithm, kind, Attributes()))
    names = []
    for number, data in enumerate(DATA, 1):
        tag, used = hashlib.md5(data).hexdigest(), part_algorithm or algorithm
        value = Checksum(used, text(digest(used, data))) if used else None
        extents = [Extent(blob_id(f"{number}"), 0, len(data), 0, -1)]
        machine.send(commands.PutPart(B, K, U, number, len(data), tag, extents, value))
        names.append(commands.PartName(number, tag, value.value if value else ""))
    return machine.send(commands.CompleteUpload(B, K, U, names, checksum)).reply


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_full_object_checksum_is_that_of_the_whole(algorithm: str) -> None:
    expected = Checksum(algorithm, text(digest(algorithm, WHOLE)))
    assert completed(algorithm, "FULL_OBJECT").checksum == expected
    assert completed(algorithm, "FULL_OBJECT", expected).checksum == expected
    wrong = Checksum(algorithm, text(digest(algorithm, WHOLE[1:])))
    assert completed(algorithm, "FULL_OBJECT", wrong).error == "BadDigest"


@pytest.mark.parametrize(
    "algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"]
)
def test_a_composite_checksum_is_that_of_the_parts_checksums(algorithm: str) -> None:
    value = text(digest(algorithm, b"".join(digest(algorithm, data) for data in DATA)))
    expected = Checksum(algorithm, f"{value}-3", "COMPOSITE")
    assert completed(algorithm, "COMPOSITE").checksum == expected
    assert not completed(algorithm, "COMPOSITE", expected).error
    assert completed(algorithm, "COMPOSITE", Checksum(algorithm, text(bytes(20)))).error == "BadDigest"


def test_without_an_algorithm_there_is_none() -> None:
    assert completed("", "").checksum is None
    assert completed("CRC32", "FULL_OBJECT", part_algorithm="SHA1").checksum is None


def test_the_etag_counts_the_parts() -> None:
    digests = b"".join(hashlib.md5(data).digest() for data in DATA)
    assert completed("", "").etag == f"{hashlib.md5(digests).hexdigest()}-3"
    assert completed("", "").size == len(WHOLE)
