"""What every S3 operation is given, and what it gives back."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from datanode.client import Blobs
from gateway.authn import Credentials
from gateway.errors import S3Error
from gateway.request import Request
from gateway.submit import Commander
from gateway.tally import Tally
from processors.reads import Bucket, Object, Reads

XML = ("content-type", "application/xml")


@dataclass(frozen=True)
class Response:
    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes | AsyncIterator[bytes] = b""


@dataclass(frozen=True)
class Gateway:
    reads: Reads
    blobs: Blobs
    commander: Commander
    credentials: Credentials
    region: str
    domain: str = ""  # for virtual-host style addresses
    signature_v2: bool = True  # whether requests may be signed so
    tally: Tally = field(default_factory=Tally)
    logs_access: bool = False  # a line for each request

    async def bucket(self, request: Request) -> Bucket:
        """Raises NoSuchBucket, or AccessDenied for who does not own it."""
        bucket = await self.existing(request.bucket)
        if bucket.owner != request.principal:
            raise S3Error("AccessDenied")
        expected = request.headers.get("x-amz-expected-bucket-owner")
        if expected is not None and expected != bucket.owner:
            raise S3Error("AccessDenied")
        return bucket

    async def existing(self, name: str) -> Bucket:
        """Whoever owns it. Raises NoSuchBucket."""
        bucket = await self.reads.bucket(name)
        if bucket is None:
            raise S3Error("NoSuchBucket", BucketName=name)
        return bucket

    async def object(self, request: Request) -> Object:
        """Raises NoSuchBucket, NoSuchKey, or NoSuchVersion for a version there is not."""
        bucket = await self.bucket(request)
        version = request.query.get("versionId")
        found = await self.reads.current(request.bucket, bucket, request.key)
        if version not in (None, "null"):
            raise S3Error("NoSuchVersion") if version else S3Error("InvalidArgument", "Version id cannot be empty.")
        if found is None:
            raise S3Error("NoSuchKey")
        return found


def xml_response(body: bytes, status: int = 200) -> Response:
    return Response(status, [XML], body)
