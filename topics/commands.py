"""What gateways ask for: the records of the topic `commands`. Private to one release line, so msgpack.

Ids are minted by the gateway and carried here. A command whose append time is past its deadline is rejected, so that a
late delivery can bring nothing back.
"""

import enum

import msgspec

from topics.objects import Attributes, Checksum, Extent, Preconditions
from topics.spec import CONTROL_PARTITION, bucket_partition

VERSION = 1


class CreateBucket(msgspec.Struct, frozen=True, tag="CreateBucket"):
    bucket: str
    incarnation: str
    region: str


class DeleteBucket(msgspec.Struct, frozen=True, tag="DeleteBucket"):
    bucket: str


class PutObject(msgspec.Struct, frozen=True, tag="PutObject"):
    bucket: str
    key: str
    size: int
    etag: str
    extents: list[Extent]
    checksum: Checksum | None
    attributes: Attributes
    preconditions: Preconditions = Preconditions()
    copied: bool = False


class DeleteObject(msgspec.Struct, frozen=True, tag="DeleteObject"):
    bucket: str
    key: str
    preconditions: Preconditions = Preconditions()


class CreateUpload(msgspec.Struct, frozen=True, tag="CreateUpload"):
    bucket: str
    key: str
    upload: str
    checksum_algorithm: str
    checksum_kind: str
    attributes: Attributes


class PutPart(msgspec.Struct, frozen=True, tag="PutPart"):
    bucket: str
    key: str
    upload: str
    number: int
    size: int
    etag: str
    extents: list[Extent]
    checksum: Checksum | None


class PartName(msgspec.Struct, frozen=True, array_like=True):
    number: int
    etag: str
    checksum: str = ""  # base64, where the client named it


class CompleteUpload(msgspec.Struct, frozen=True, tag="CompleteUpload"):
    bucket: str
    key: str
    upload: str
    parts: list[PartName]
    checksum: Checksum | None
    size: int | None = None  # x-amz-mp-object-size
    preconditions: Preconditions = Preconditions()


class AbortUpload(msgspec.Struct, frozen=True, tag="AbortUpload"):
    bucket: str
    key: str
    upload: str


class DiscardParts(msgspec.Struct, frozen=True, tag="DiscardParts"):
    """From the release reactor: make some garbage of parts that were dropped."""

    partition: int


class ForgetReleased(msgspec.Struct, frozen=True, omit_defaults=True, tag="ForgetReleased"):
    """From the release reactor: blobs unreferenced since before this place were given back to the volumes."""

    partition: int
    below: int  # a position
    number: int = 0  # of rows of garbage at that position


class ReleaseOrphans(msgspec.Struct, frozen=True, tag="ReleaseOrphans"):
    """From a data node: blobs that are older than any request; those that nothing refers to are given back."""

    partition: int
    blobs: list[tuple[int, str]]  # group, id


class RegisterNode(msgspec.Struct, frozen=True, omit_defaults=True, tag="RegisterNode"):
    """From who judges heartbeats: what a data node says of itself."""

    node: str
    incarnation: str
    boot: str
    endpoint: str
    domain: str
    capacity_bytes: int
    is_known: bool = False  # the map has a node of this name: if it was removed meanwhile, it does not join by this


class Mark(enum.StrEnum):
    DOWN = "down"
    OUT = "out"
    FULL = "full"
    WRITABLE = "writable"


class MarkNode(msgspec.Struct, frozen=True, tag="MarkNode"):
    """From who judges heartbeats."""

    node: str
    boot: str  # that was judged: one that came back meanwhile has another
    mark: Mark


class DrainNode(msgspec.Struct, frozen=True, tag="DrainNode"):
    """From an operator: place the node's groups elsewhere, or no longer."""

    node: str
    is_draining: bool


class RemoveNode(msgspec.Struct, frozen=True, tag="RemoveNode"):
    """From an operator: forget a node that holds nothing."""

    node: str


class HoldGroup(msgspec.Struct, frozen=True, tag="HoldGroup"):
    """From a data node: it has all blobs of a group, or has lost some."""

    node: str
    boot: str  # of the process that says so: a later one may have found something lost
    group: int
    holds: bool


class SetCopies(msgspec.Struct, frozen=True, tag="SetCopies"):
    copies: int


class SetOutShare(msgspec.Struct, frozen=True, tag="SetOutShare"):
    share: float  # of the nodes: no more go out by themselves


class PauseCluster(msgspec.Struct, frozen=True, tag="PauseCluster"):
    """From an operator: no node goes out by itself, or again some may."""

    is_paused: bool


ClusterBody = RegisterNode | MarkNode | DrainNode | RemoveNode | HoldGroup | SetCopies | SetOutShare | PauseCluster
Body = (
    CreateBucket
    | DeleteBucket
    | PutObject
    | DeleteObject
    | CreateUpload
    | PutPart
    | CompleteUpload
    | AbortUpload
    | DiscardParts
    | ForgetReleased
    | ReleaseOrphans
    | ClusterBody
)


class Command(msgspec.Struct, frozen=True):
    request_id: str
    principal: str  # canonical user id of who asks
    reply_to: str  # the gateway that waits for the outcome
    deadline_ms: int  # Unix time
    body: Body
    version: int = VERSION


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Command)


def partition_of(body: Body) -> int:
    """Where a command is decided: with its bucket, or with the facts that belong to no bucket."""
    match body:
        case DiscardParts() | ForgetReleased() | ReleaseOrphans():
            return body.partition
        case RegisterNode() | MarkNode() | DrainNode() | RemoveNode() | HoldGroup():
            return CONTROL_PARTITION
        case SetCopies() | SetOutShare() | PauseCluster():
            return CONTROL_PARTITION
        case _:
            return bucket_partition(body.bucket)


def encode(command: Command) -> bytes:
    return _encoder.encode(command)


def decode(data: bytes) -> Command:
    """Raises `ValueError` (msgspec's errors are ones) for what is not a command of this version."""
    command = _decoder.decode(data)
    if command.version != VERSION:
        raise ValueError(f"command version {command.version} is not known to this release")
    return command
