"""The data node of this process: its volumes, the groups that it serves, and its peers where it leads a write."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from awscrt.checksums import crc32c

from datanode.layout import BlobCorrupt
from datanode.leader import LeadingWriter
from datanode.node import QUORUM_S, BlobRef, BlobUnavailable, Nodes, Piece, Writer
from datanode.placement import PlacementMap
from datanode.replica import GroupReplica
from datanode.store import BlobMissing, BlobWriter, Held, VolumeStore
from datanode.turns import COPY_BYTES_PER_S, Rate
from topics.log import LogError
from topics.writes import UNKNOWN_PARTITION

BEHIND_S_MAX = 5.0  # how long a request waits for a record of `writes` that is on its way
PIECES_BETWEEN = 32  # for which the loop waits: ~1 ms


class LocalWriter:
    """A blob into this node's volumes alone. `check`: raises where its group is not served any more."""

    def __init__(self, own: str, writer: BlobWriter, check: Callable[[], object]) -> None:
        self._own = own
        self._check = check
        self._writer = writer
        self.write, self.abort = writer.write, writer.abort

    @property
    def crc32c(self) -> int:
        return self._writer.crc32c

    async def commit(self) -> list[str]:
        try:
            await self._writer.commit()
        except BlobMissing as error:  # who sent it has given it up
            raise OSError(str(error)) from error
        self._check()  # else it counts as a copy, and is dropped with its group
        return [self._own]


class LocalNode:
    def __init__(
        self,
        own: str,
        store: VolumeStore,
        replicas: Mapping[int, GroupReplica],
        known: PlacementMap,
        nodes: Nodes,
        holds: Callable[[int], bool],
        on_damaged: Callable[[int, bytes], None],
        gives_bytes_per_s: float = COPY_BYTES_PER_S,
    ) -> None:
        """`holds(group)`: whether all blobs of it are here; `on_damaged(group, blob)` hears what a read found damaged;
        `gives_bytes_per_s`: to other data nodes."""
        self._own = own
        self._store = store
        self._replicas = replicas
        self._map = known
        self._nodes = nodes
        self._holds = holds
        self._on_damaged = on_damaged
        self._giving = Rate(gives_bytes_per_s)

    async def create(self, ref: BlobRef, length: int, *, leads: bool, quorum_s: float = QUORUM_S) -> Writer:
        await self._store.answers()
        self._serving(ref.group)  # what nobody follows here would stay for ever
        writer = self._store.create(ref.group, ref.blob, ref.partition, length)
        local = LocalWriter(self._own, writer, partial(self._serving, ref.group))
        if not leads:
            return local
        placement = self._map.current
        followers = {}
        for name in placement.groups[ref.group].targets:
            if name != self._own and placement.is_up(name) and not placement.nodes[name].is_full:
                node = self._nodes(placement.endpoint(name))
                followers[name] = lambda node=node: node.create(ref, length, leads=False)
        return LeadingWriter(self._own, local, followers, placement.quorum, quorum_s)

    async def read(self, ref: BlobRef, start: int, size: int, position: int) -> bytes:
        if position >= 0:
            await self._reached(ref.group, position)
        replica = self._replicas.get(ref.group)
        if replica is not None and replica.wants(ref.blob):  # what came meanwhile, if it did, was not compared to its claim
            if (data := await _from_log(replica, ref, start, size)) is not None:
                return data
            raise OSError(f"blob {ref.blob.hex()} is still to be fetched by {self._own}")
        try:
            return await self._store.read(ref.group, ref.blob, start, size, ref.crc32c)
        except BlobCorrupt as error:
            self._on_damaged(ref.group, ref.blob)
            known = replica if self._store.may_be_lost(ref.group, ref.blob) else None
            if known is not None and (data := await _from_log(known, ref, start, size)) is not None:
                return data
            raise BlobUnavailable(str(error)) from error
        except BlobMissing as error:
            if replica is None or not self._holds(ref.group):  # only who has all of a group can tell that a blob is gone
                raise OSError(f"{error}; it may still come") from error
            raise BlobUnavailable(str(error)) from error

    async def pieces(self, group: int, wanted: Sequence[Piece], position: int) -> list[bytes | Exception]:
        if position >= 0:
            await self._reached(group, position)
        if self._giving.is_busy:
            raise OSError(f"{self._own} gives as much to others as it may")
        await self._giving.take(sum(each.size for each in wanted))
        found = list[bytes | Exception]()
        for number, each in enumerate(wanted, 1):
            found.append(await self._piece(BlobRef(group, each.blob, UNKNOWN_PARTITION, each.crc32c), each))
            if number % PIECES_BETWEEN == 0:
                await asyncio.sleep(0)
        return found

    async def _piece(self, ref: BlobRef, piece: Piece) -> bytes | Exception:
        try:
            return await self.read(ref, piece.start, piece.size, -1)
        except ValueError as error:
            return BlobUnavailable(f"blob {ref.blob.hex()} has another length here: {error}")
        except (BlobUnavailable, OSError) as error:
            return error

    async def blobs(self, group: int, after: bytes, position: int) -> list[Held]:
        await self._reached(group, position - 1)
        if not self._holds(group):
            raise OSError(f"{self._own} does not have all of group {group}")
        if self._serving(group).settled < position:
            raise OSError(f"{self._own} still fetches blobs of group {group}")
        return await self._store.blobs_checked(group, after)

    async def _reached(self, group: int, position: int) -> None:
        """What is there ahead of its record may not be what was sent. Raises `OSError`."""
        replica = self._serving(group)
        if replica.position <= position:
            async with asyncio.timeout(BEHIND_S_MAX):
                await replica.reached(position)

    def _serving(self, group: int) -> GroupReplica:
        if (replica := self._replicas.get(group)) is None:
            raise OSError(f"{self._own} does not serve group {group}")
        return replica


async def _from_log(replica: GroupReplica, ref: BlobRef, start: int, size: int) -> bytes | None:
    """Bytes of a small blob that the volumes do not have: the disk is full, or could not be synced. Raises `OSError`."""
    try:
        data = await replica.payload(ref.blob)
    except LogError as error:
        raise OSError(str(error)) from error
    if data is None or start + size > len(data) or ref.crc32c not in (None, crc32c(data)):
        return None
    return data[start : start + size]


class MissingNode:
    """In the place of one whose disk is missing: it fails when it is asked, as a node elsewhere that is away."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def create(self, ref: BlobRef, length: int, *, leads: bool, quorum_s: float = QUORUM_S) -> Writer:
        raise OSError(self._why)

    async def read(self, ref: BlobRef, start: int, size: int, position: int) -> bytes:
        raise OSError(self._why)

    async def pieces(self, group: int, wanted: Sequence[Piece], position: int) -> list[bytes | Exception]:
        raise OSError(self._why)

    async def blobs(self, group: int, after: bytes, position: int) -> list[Held]:
        raise OSError(self._why)
