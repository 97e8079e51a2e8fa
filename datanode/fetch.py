"""Blobs from peers: what a claim check names, what a new member copies, what scrub found damaged. Few at a time, and not
faster than the operator allows, so that clients do not notice.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

from datanode.node import BlobRef, BlobUnavailable, DataNode, Nodes
from datanode.placement import PlacementMap
from datanode.store import BlobExists, BlobMissing, VolumeStore

WINDOW_BYTES = 1 << 20
AT_ONCE = 8
log_ = logging.getLogger(__name__)


class Wanted(NamedTuple):
    group: int
    blob: bytes
    partition: int
    length: int
    holders: tuple[str, ...] = ()  # names that are known to have it
    crc32c: int | None = None  # where it is known
    position: int = -1  # of `writes`, that a source must have consumed: what is ahead of its claim may be damaged


class Rate:
    """A token bucket: who takes more than there is waits until it has come in."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at_s = 0.0

    async def take(self, size: int) -> None:
        now_s = asyncio.get_running_loop().time()
        self._free_at_s = max(self._free_at_s, now_s) + size / self._bytes_per_s
        if (wait_s := self._free_at_s - now_s - 1.0) > 0:  # a second's worth may come at once
            await asyncio.sleep(wait_s)


class Fetch:
    def __init__(self, store: VolumeStore, own: str, known: PlacementMap, nodes: Nodes, bytes_per_s: float) -> None:
        self._store = store
        self._own = own
        self._map = known
        self._nodes = nodes
        self._rate = Rate(bytes_per_s)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self.fetched_bytes = 0

    def is_here(self, wanted: Wanted) -> bool:
        """Whether the blob is here as it is wanted."""
        if wanted.crc32c is None:
            return self._store.has(wanted.group, wanted.blob)
        return self._store.is_of(wanted.group, wanted.blob, wanted.length, wanted.crc32c)

    async def get(self, wanted: Wanted, sources: Sequence[str], *, replace: bool = False) -> None:
        """The blob into the volumes, durable on return. `replace`: one that is here, but damaged. One with other bytes than
        those that are wanted is damaged, too.

        Raises `BlobUnavailable` where every source says that it has none, or `OSError` where some could not be asked.
        """
        names = [name for name in dict.fromkeys([*wanted.holders, *sources]) if name != self._own]
        names.sort(key=lambda name: not self._map.current.is_up(name))
        missing = BlobUnavailable(f"blob {wanted.blob.hex()}: there is no other node to ask")
        failure: OSError | None = None
        async with self._slots:
            for name in names:
                try:
                    return await self._get_from(name, wanted, replace=replace)
                except (BlobExists, BlobMissing):
                    return None  # it has come meanwhile, or was released
                except BlobUnavailable as error:
                    missing = error
                except OSError as error:
                    failure = error
        raise failure or missing

    async def _get_from(self, name: str, wanted: Wanted, *, replace: bool) -> None:
        endpoint = self._map.current.endpoint(name)
        if not endpoint:
            raise BlobUnavailable(f"node {name} is not known")
        node = self._nodes(endpoint)
        ref = BlobRef(wanted.group, wanted.blob, wanted.partition, wanted.crc32c)
        first = await _read(node, ref, 0, min(WINDOW_BYTES, wanted.length), wanted.position)
        if self._store.has(wanted.group, wanted.blob) and not self.is_here(wanted):
            log_.error("blob %s of group %d came damaged, and is fetched anew", wanted.blob.hex(), wanted.group)
            replace = True
        writer = self._store.create(wanted.group, wanted.blob, wanted.partition, wanted.length, replace=replace)
        try:
            await writer.write(first)
            for start in range(len(first), wanted.length, WINDOW_BYTES):
                size = min(WINDOW_BYTES, wanted.length - start)
                await self._rate.take(size)
                await writer.write(await _read(node, ref, start, size, wanted.position))
            await writer.commit()
        except BaseException:
            await writer.abort()
            raise
        await self._rate.take(len(first))
        self.fetched_bytes += wanted.length


async def _read(node: DataNode, ref: BlobRef, start: int, size: int, position: int) -> bytes:
    try:
        return await node.read(ref, start, size, position)
    except ValueError as error:
        raise BlobUnavailable(f"blob {ref.blob.hex()} has another length there: {error}") from error
