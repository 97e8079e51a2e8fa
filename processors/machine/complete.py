"""Joining the parts of a multipart upload: the checks and the sums of CompleteMultipartUpload (S3 API).

The ETag is the MD5 of the parts' MD5s and their count. A composite checksum is the checksum of the parts' checksums and
their count; a full-object checksum is the CRC of the whole, combined from the parts' CRCs.
"""

import base64
import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from awscrt import checksums

from processors.machine import tables
from processors.machine.rejection import Rejected
from processors.view import Readable
from topics.commands import CompleteUpload
from topics.objects import Checksum

PART_BYTES_MIN = 5 << 20  # S3: every part but the last
PART_NUMBER_MAX = 10_000  # S3


class Whole(NamedTuple):
    size: int
    etag: str
    checksum: Checksum | None


_COMBINE: dict[str, tuple[Callable[[int, int, int], int], int]] = {  # and the sum's size in bytes
    "CRC32": (checksums.combine_crc32, 4),
    "CRC32C": (checksums.combine_crc32c, 4),
    "CRC64NVME": (checksums.combine_crc64nvme, 8),
}
_DIGEST: dict[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda data: checksums.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: checksums.crc32c(data).to_bytes(4, "big"),
    "SHA1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
    "SHA512": lambda data: hashlib.sha512(data).digest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
    "XXHASH64": checksums.XXHash.compute_xxhash64,
    "XXHASH3": checksums.XXHash.compute_xxhash3_64,
    "XXHASH128": checksums.XXHash.compute_xxhash3_128,
}


def join(view: Readable, upload: tables.Upload, body: CompleteUpload) -> Whole:
    """Raises `Rejected` with InvalidPartOrder, InvalidPart, EntityTooSmall, InvalidRequest or BadDigest."""
    numbers = [part.number for part in body.parts]
    if any(after <= before for before, after in itertools.pairwise(numbers)):
        raise Rejected("InvalidPartOrder")
    parts = []
    for wanted in body.parts:
        part = tables.part(view, body.upload, wanted.number) if wanted.number <= PART_NUMBER_MAX else None
        if part is None or part.etag != wanted.etag:
            raise Rejected("InvalidPart", PartNumber=wanted.number, ETag=wanted.etag)
        if wanted.checksum and (part.checksum is None or part.checksum.value != wanted.checksum):
            raise Rejected("InvalidPart", PartNumber=wanted.number, ETag=wanted.etag)
        parts.append(part)
    for number, part in zip(numbers[:-1], parts[:-1], strict=True):
        if part.size < PART_BYTES_MIN:
            raise Rejected(
                "EntityTooSmall", ProposedSize=part.size, MinSizeAllowed=PART_BYTES_MIN, PartNumber=number, ETag=part.etag
            )
    size = sum(part.size for part in parts)
    if body.size is not None and body.size != size:
        raise Rejected("InvalidRequest", "The provided 'x-amz-mp-object-size' header does not match what was uploaded.")
    digest = hashlib.md5(b"".join(bytes.fromhex(part.etag) for part in parts), usedforsecurity=False).hexdigest()
    checksum = _checksum(upload, parts)
    if body.checksum is not None and checksum is not None and _value(body.checksum) != _value(checksum):
        raise Rejected("BadDigest", f"The {checksum.algorithm} you specified did not match the calculated checksum.")
    return Whole(size, f"{digest}-{len(parts)}", checksum)


def _value(checksum: Checksum) -> str:
    return checksum.value.partition("-")[0]


def _checksum(upload: tables.Upload, parts: Sequence[tables.Part]) -> Checksum | None:
    algorithm = upload.checksum_algorithm
    sums = [base64.b64decode(p.checksum.value) for p in parts if p.checksum and p.checksum.algorithm == algorithm]
    if not algorithm or len(sums) != len(parts):
        return None
    if upload.checksum_kind == "COMPOSITE":
        joined = base64.b64encode(_DIGEST[algorithm](b"".join(sums))).decode()
        return Checksum(algorithm, f"{joined}-{len(parts)}", "COMPOSITE")
    combine, width = _COMBINE[algorithm]
    total = int.from_bytes(sums[0], "big")
    for each, part in zip(sums[1:], parts[1:], strict=True):
        total = combine(total, int.from_bytes(each, "big"), part.size)
    return Checksum(algorithm, base64.b64encode(total.to_bytes(width, "big")).decode())
