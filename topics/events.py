"""The system of record: what was decided. The records of the topic `events`, as JSON.

Each event has a stable public part, named as in S3's event notifications (bucket, key, size, eTag, sequencer), and a part
under "private" that may change with any release. Everything that `apply` needs is in the event; nothing is derived anew.
A decision carries the claim it was made under (`epoch`), its place in it (`sequence`) and the offset of its command
(`cause`); `topics.reader` tells which records count.
"""

import msgspec

from topics.objects import Attributes, Checksum, Extent
from topics.placement import Node

VERSION = 1


class Claimed(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="eventName", tag="Claimed"):
    """A new owner of the partition: decisions of earlier epochs that come after it are void."""

    owner: str
    release: str = ""  # whose rules it decides by; of a release that did not say: empty


class CommandsDecided(msgspec.Struct, frozen=True, tag_field="eventName", tag="CommandsDecided"):
    """All commands below an offset are decided; those without an event changed nothing, and never will."""

    below: int


class BucketCreated(msgspec.Struct, frozen=True, tag_field="eventName", tag="BucketCreated"):
    bucket: str
    owner: str
    region: str
    incarnation: str


class BucketDeleted(msgspec.Struct, frozen=True, tag_field="eventName", tag="BucketDeleted"):
    bucket: str


class ObjectPrivate(msgspec.Struct, frozen=True, omit_defaults=True):
    extents: list[Extent]
    attributes: Attributes
    checksum: Checksum | None = None


class ObjectCreated(msgspec.Struct, frozen=True, tag_field="eventName", tag="ObjectCreated:Put"):
    bucket: str
    key: str
    size: int
    etag: str = msgspec.field(name="eTag")
    version_id: str = msgspec.field(name="versionId")
    private: ObjectPrivate


class ObjectCopied(ObjectCreated, frozen=True, tag="ObjectCreated:Copy"):
    """The same facts; only the name differs, as in S3."""


class ObjectRemoved(msgspec.Struct, frozen=True, tag_field="eventName", tag="ObjectRemoved:Delete"):
    bucket: str
    key: str
    version_id: str = msgspec.field(name="versionId")


class UploadPrivate(msgspec.Struct, frozen=True):
    attributes: Attributes
    checksum_algorithm: str
    checksum_kind: str
    initiator: str


class UploadCreated(msgspec.Struct, frozen=True, tag_field="eventName", tag="MultipartUpload:Created"):
    bucket: str
    key: str
    upload_id: str = msgspec.field(name="uploadId")
    private: UploadPrivate


class PartPrivate(msgspec.Struct, frozen=True, omit_defaults=True):
    extents: list[Extent]
    checksum: Checksum | None = None


class PartUploaded(msgspec.Struct, frozen=True, tag_field="eventName", tag="MultipartUpload:Part"):
    bucket: str
    key: str
    upload_id: str = msgspec.field(name="uploadId")
    part_number: int = msgspec.field(name="partNumber")
    size: int
    etag: str = msgspec.field(name="eTag")
    private: PartPrivate


class UploadAborted(msgspec.Struct, frozen=True, tag_field="eventName", tag="MultipartUpload:Aborted"):
    bucket: str
    key: str
    upload_id: str = msgspec.field(name="uploadId")


class CompletedPrivate(msgspec.Struct, frozen=True, omit_defaults=True):
    parts: list[int]  # the part numbers taken, in order; their extents are facts of earlier events
    checksum: Checksum | None = None


class UploadCompleted(msgspec.Struct, frozen=True, tag_field="eventName", tag="ObjectCreated:CompleteMultipartUpload"):
    bucket: str
    key: str
    size: int
    etag: str = msgspec.field(name="eTag")
    version_id: str = msgspec.field(name="versionId")
    upload_id: str = msgspec.field(name="uploadId")
    private: CompletedPrivate


class PartsDiscarded(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="eventName", tag="PartsDiscarded"):
    """Parts that an earlier event dropped are garbage now, in their order up to the one that is named."""

    dropped_at: int = msgspec.field(name="droppedAt")  # the position of that event
    key: str = ""  # where it dropped uploads of many keys
    upload_id: str = msgspec.field(name="uploadId", default="")
    part_number: int = msgspec.field(name="partNumber", default=0)
    is_last: bool = msgspec.field(name="isLast", default=False)


class BlobsReleased(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="eventName", tag="BlobsReleased"):
    """Blobs that no object refers to went back to the volumes: of garbage noted below a position, and of its first rows."""

    below: int
    number: int = 0  # of rows of garbage at that position


class OrphansFound(msgspec.Struct, frozen=True, tag_field="eventName", tag="OrphansFound"):
    """Blobs that no object ever referred to; no later command may name them."""

    blobs: list[tuple[int, str]]  # group, id


class Placed(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of the groups whose placement follows from the event: their targets and holders from here on."""

    targets: dict[int, list[str]] = {}
    holders: dict[int, list[str]] = {}


class NodeChanged(msgspec.Struct, frozen=True, tag_field="eventName", tag="Node:Changed"):
    node: Node
    change: str  # joined, returned, down, out, full, writable, draining, staying
    private: Placed


class NodeRemoved(msgspec.Struct, frozen=True, tag_field="eventName", tag="Node:Removed"):
    node: str


class GroupHeld(msgspec.Struct, frozen=True, tag_field="eventName", tag="Group:Held"):
    """A node has all blobs of a group, or has lost some."""

    node: str
    group: int
    holders: list[str]
    targets: list[str] | msgspec.UnsetType = msgspec.UNSET  # where they change: a full node cannot copy what it lost


class CopiesSet(msgspec.Struct, frozen=True, tag_field="eventName", tag="Cluster:CopiesSet"):
    copies: int
    private: Placed


class OutShareSet(msgspec.Struct, frozen=True, tag_field="eventName", tag="Cluster:OutShareSet"):
    share: float


class Paused(msgspec.Struct, frozen=True, tag_field="eventName", tag="Cluster:Paused"):
    """No node goes out by itself."""


class Resumed(msgspec.Struct, frozen=True, tag_field="eventName", tag="Cluster:Resumed"):
    """Some may again."""


ClusterEvent = NodeChanged | NodeRemoved | GroupHeld | CopiesSet | OutShareSet | Paused | Resumed
Event = (
    Claimed
    | CommandsDecided
    | BucketCreated
    | BucketDeleted
    | ObjectCreated
    | ObjectCopied
    | ObjectRemoved
    | UploadCreated
    | PartUploaded
    | UploadAborted
    | UploadCompleted
    | PartsDiscarded
    | BlobsReleased
    | OrphansFound
    | ClusterEvent
)


class Decision(msgspec.Struct, frozen=True):
    """One record of `events`."""

    epoch: int
    sequence: int  # 0 for the claim itself, then 1, 2, …
    cause: int  # offset of the command; -1 for a claim
    time_ms: int  # append time of the command, made monotonic in the partition
    principal: str
    request_id: str = msgspec.field(name="requestId")
    sequencer: str  # hexadecimal, rising with the log's order; as S3's
    event: Event
    version: int = VERSION
    reply_to: str | msgspec.UnsetType = msgspec.field(name="replyTo", default=msgspec.UNSET)  # a gateway of a cluster


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Decision)


def encode(decision: Decision) -> bytes:
    return _encoder.encode(decision)


def decode(data: bytes) -> Decision:
    """Raises `ValueError` (msgspec's errors are ones) for an event this release does not know."""
    decision = _decoder.decode(data)
    if decision.version != VERSION:
        raise ValueError(f"event version {decision.version} is not known to this release; upgrade it")
    return decision
