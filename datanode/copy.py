"""A group's blobs from a node that has all of them: what a new member does before it counts as a holder.

It follows `writes` already; so all that is older than where it started is in a holder's list. Blobs that are here with the
holder's bytes are passed over, so that a copy that was broken off goes on where it was; one with others came damaged
ahead of its claim, which this node has missed, and is fetched anew. A blob that no holder has any more, of those that are
down neither, was released meanwhile, or is lost; it is told and passed over.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from datanode.fetch import Fetch, Wanted
from datanode.node import BlobUnavailable, Nodes
from datanode.placement import PlacementMap
from datanode.replica import LOOK_S, GroupReplica
from datanode.store import Held, VolumeStore

log_ = logging.getLogger(__name__)


class GroupCopy:
    def __init__(
        self,
        replica: GroupReplica,
        store: VolumeStore,
        fetch: Fetch,
        known: PlacementMap,
        nodes: Nodes,
        holders: Callable[[], Sequence[str]],
    ) -> None:
        """`holders`: names of those that have all of the group, best first; those that are down, too."""
        self._replica = replica
        self._store = store
        self._fetch = fetch
        self._map = known
        self._nodes = nodes
        self._holders = holders
        self.remaining = 0  # of the page under way

    async def run(self) -> None:
        """Returns when all that a holder has is here. Raises `OSError` where no holder can be asked, or not to its end."""
        begins = -1
        while begins != (begins := await self._replica.started()):  # once more if the log was trimmed under the replica
            after = b""
            while page := await self._page(after, begins):
                await self._get_all([each for each in self._wanted(page, begins - 1) if not self._fetch.is_here(each)])
                after = page[-1].blob

    def _wanted(self, page: Sequence[Held], position: int) -> list[Wanted]:
        group = self._replica.group
        return [Wanted(group, h.blob, h.partition, h.length, (), h.crc32c, position) for h in page]

    async def _get_all(self, missing: Sequence[Wanted]) -> None:
        self.remaining = len(missing)
        for failure in await asyncio.gather(*map(self._get, missing), return_exceptions=True):
            if failure is not None:  # all others were taken
                raise failure

    async def _page(self, after: bytes, position: int) -> list[Held]:
        failure = OSError(f"group {self._replica.group}: no node that has all of it is up")
        for name in self._holders():
            try:
                return await self._nodes(self._map.current.endpoint(name)).blobs(self._replica.group, after, position)
            except OSError as error:
                failure = error
        raise failure

    async def _get(self, wanted: Wanted) -> None:
        try:
            while not self._fetch.is_here(wanted):
                await self._fetch.get(wanted, self._holders())
                if self._store.is_arriving(wanted.group, wanted.blob):
                    await asyncio.sleep(LOOK_S)  # from a leader, which may break it off
        except BlobUnavailable as error:
            log_.warning("blob %s was released, or is lost: %s", wanted.blob.hex(), error)
        self.remaining -= 1
