"""What every S3 operation is given, and what it gives back."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial

from datanode.client import Blobs
from gateway.authn import Credentials
from gateway.errors import S3Error, invalid_argument
from gateway.open_reads import OpenReads
from gateway.request import Request
from gateway.submit import Commander
from gateway.tally import Tally
from processors.reads import Bucket, Object, Reads

XML = ("content-type", "application/xml")
ROOT_ACCOUNT = "000000000000"  # of the root user: AWS account ids are 12 digits; a setting may name another
_ACCOUNT = re.compile(r"[0-9]{12}")
EXPECTED_OWNER = "x-amz-expected-bucket-owner"
_VERSION = re.compile(r"null|[A-Za-z0-9._-]{32}")  # as S3 and its kin make version ids


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
    open_reads: OpenReads = field(default_factory=OpenReads)
    logs_access: bool = False  # a line for each request
    account: str = ROOT_ACCOUNT

    async def begin_read(self, request: Request) -> None:
        """To be called before metadata is asked for; the read ends with the request."""
        request.read = await self.open_reads.begin()

    def check_read(self, request: Request) -> Callable[[], None]:
        """For `payload.read`: raises `ReadEnded` where the read may not go on."""
        return partial(self.open_reads.check, request.read)

    async def bucket(self, request: Request) -> Bucket:
        """Raises NoSuchBucket, or AccessDenied for who does not own it."""
        found = await self.existing(request.bucket)
        self._check_owner(request, found, EXPECTED_OWNER)
        return found

    async def existing(self, name: str) -> Bucket:
        """Whoever owns it. Raises NoSuchBucket."""
        return _there(await self.reads.bucket(name), name)

    async def object(self, request: Request) -> Object:
        """Raises NoSuchBucket, AccessDenied, NoSuchKey, or NoSuchVersion for a version there is not."""
        found = await self.owned_object(request, request.bucket, request.key, EXPECTED_OWNER)
        if wanted_version(request) not in ("", "null"):
            raise S3Error("NoSuchVersion")
        if found is None:
            raise S3Error("NoSuchKey")
        return found

    async def owned_object(self, request: Request, name: str, key: str, expectation: str) -> Object | None:
        """Also of another bucket than the request's. `expectation`: the header that names the owner's account, where the
        client is not sure of it.

        Raises NoSuchBucket, AccessDenied, or InvalidBucketOwnerAWSAccountID for what is no account.
        """
        bucket, found = await self.reads.current(name, key)
        self._check_owner(request, _there(bucket, name), expectation)
        return found

    def _check_owner(self, request: Request, bucket: Bucket, expectation: str) -> None:
        if bucket.owner != request.principal:
            raise S3Error("AccessDenied")
        expected = request.headers.get(expectation)
        if expected is not None and expected != self.account:
            raise S3Error("AccessDenied" if _ACCOUNT.fullmatch(expected) else "InvalidBucketOwnerAWSAccountID")


def _there(bucket: Bucket | None, name: str) -> Bucket:
    if bucket is None:
        raise S3Error("NoSuchBucket", BucketName=name)
    return bucket


def wanted_version(request: Request) -> str:
    """Of ?versionId; empty where there is none. Raises InvalidArgument for what can be no version's id."""
    version = request.query.get("versionId")
    if version is None:
        return ""
    if not version:
        raise invalid_argument("versionId", "", "Version id cannot be the empty string")
    check_version(version)
    return version


def check_version(version: str) -> None:
    if not _VERSION.fullmatch(version):
        raise invalid_argument("versionId", version, "Invalid version id specified")


def xml_response(body: bytes, status: int = 200) -> Response:
    return Response(status, [XML], body)
