"""The port of one data node: blobs written in a stream, read by range, listed by group. `datanode.local.LocalNode` is the
node of this process, `datanode.remote.RemoteNode` asks one over HTTP.

Rules: nobody can read a blob before its writer's `commit` returned, and it is durable then; a writer ends with `commit` or
`abort`, exactly one. What `read` returns was verified, from end to end where the reader tells the payload's crc32c.
Errors: `BlobUnavailable` for what is missing or damaged on the node, `BlobExists` for one that is there or arriving,
`OSError` for a node that cannot be reached or a disk that cannot be written, `TimeoutError` (an `OSError`) for one that is
behind, `TooFewCopies` (an `OSError`) for a write that its leader could not bring to a quorum, `ValueError` for lengths that
do not fit.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from datanode.store import Held

QUORUM_S = 10.0  # a leader waits for it
CLAIM_S = 40.0  # from a blob's last byte until its claim is in the log: that, and an append to Kafka (20 s)
PIECES_BYTES_MAX, PIECES_MAX = 8 << 20, 1_000  # a node holds this much in memory for each request


class BlobUnavailable(Exception):
    """The bytes of a blob cannot be had: missing or damaged here, and no replica to ask."""


class NoNode(OSError):
    """No data node can take or give what was asked; the client may try again."""


class NoRoom(NoNode):
    """Those that could take a payload have full disks; an operator must make room."""


class TooFewCopies(OSError):
    """`without`: the peers that did not take the blob, as far as the leader knows."""

    def __init__(self, why: str, without: Sequence[str]) -> None:
        super().__init__(why)
        self.without = without


class BlobRef(NamedTuple):
    group: int  # replication group
    blob: bytes  # UUIDv7
    partition: int  # of the metadata that may refer to it
    crc32c: int | None = None  # of the payload, where it is known: a node that has other bytes does not give them


class Piece(NamedTuple):
    """Bytes of a blob, for another data node."""

    blob: bytes
    start: int
    size: int
    crc32c: int | None = None  # of the whole payload, as in `BlobRef`


class Writer(Protocol):
    @property
    def crc32c(self) -> int:
        """Of all bytes, once `commit` returned."""
        ...

    async def write(self, data: bytes) -> None: ...

    async def commit(self) -> list[str]:
        """Names of the nodes that have synced it."""
        ...

    async def abort(self) -> None:
        """Give the space back; also after a failed `write` or `commit`."""
        ...


class DataNode(Protocol):
    async def create(self, ref: BlobRef, length: int, *, leads: bool, quorum_s: float = QUORUM_S) -> Writer:
        """A blob of `length` bytes that is about to arrive. `leads`: the node forwards it to its peers while it does,
        and commits when a quorum of the group has synced it, within `quorum_s` of the last byte."""
        ...

    async def read(self, ref: BlobRef, start: int, size: int, position: int) -> bytes:
        """`size` bytes from `start`, once the node has consumed `writes` to `position` (-1: it need not wait)."""
        ...

    async def pieces(self, group: int, wanted: Sequence[Piece], position: int) -> list[bytes | Exception]:
        """For each its bytes, or why there are none: what `read` would raise. For data nodes that copy and mend, no faster
        than the operator allows; at most `PIECES_BYTES_MAX` and `PIECES_MAX` at once."""
        ...

    async def blobs(self, group: int, after: bytes, position: int) -> list[Held]:
        """A page of a group's blobs, by id above `after`, from a node that has all of them that were claimed in `writes`
        below `position`."""
        ...


Nodes = Callable[[str], DataNode]  # by endpoint; one that cannot be reached fails when it is asked
