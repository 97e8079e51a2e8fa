"""A group's blobs from the nodes that have all of them: what a new member does before it counts as a holder.

It follows `writes` already; so all that is older than where it started is in a holder's list. Each holder that is up
lists what it has: one may have lost something and not know it, and a holder that has it still may leave the group for
the new one. Blobs that are here with the holder's bytes are passed over, so that a copy that was broken off goes on
where it was; one with others came damaged ahead of its claim, which this node has missed, and is fetched anew. A blob
that no holder has any more, of those that are down neither, was released meanwhile, or is lost; it is told and passed
over.
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
        """Returns when all that the holders have is here. Raises `OSError` where none can be asked, or not to its end."""
        begins = -1
        while begins != (begins := await self._replica.started()):  # once more if the log was trimmed under the replica
            after: bytes | None = b""
            while after is not None:
                async with self._fetch.copies.turn(self._holders_up):  # the fewer are left, the sooner
                    after = await self._take_page(after, begins)

    def _holders_up(self) -> int:
        return sum(map(self._map.current.is_up, self._holders()))

    async def _take_page(self, after: bytes, begins: int) -> bytes | None:
        """The blob at which the next one begins, if there is one."""
        page = await self._page(after, begins)
        missing = await self._fetch.lacking(self._wanted(page, begins - 1))
        self.remaining = len(missing)
        while missing:
            await self._get_all(missing)
            missing = [each for each in missing if self._store.is_arriving(each.group, each.blob)]
            if missing:  # from a leader, which may break it off
                await asyncio.sleep(LOOK_S)
                missing = await self._fetch.lacking(missing)
        self.remaining = 0
        return page[-1].blob if page else None

    def _wanted(self, page: Sequence[Held], position: int) -> list[Wanted]:
        group = self._replica.group
        return [Wanted(group, h.blob, h.partition, h.length, (), h.crc32c, position) for h in page]

    async def _get_all(self, missing: Sequence[Wanted]) -> None:
        """Raises the first `OSError`, when all others were taken."""
        for failure in await self._fetch.get_all(missing, self._holders()):
            if not isinstance(failure, BlobUnavailable):
                raise failure
            log_.warning("of group %d something was released, or is lost: %s", self._replica.group, failure)

    async def _page(self, after: bytes, position: int) -> list[Held]:
        """What any holder lists, up to where the shortest of their pages ends; empty after the last blob of all."""
        placement, holders = self._map.current, self._holders()

        async def ask(name: str) -> list[Held] | OSError:
            try:
                return await self._nodes(placement.endpoint(name)).blobs(self._replica.group, after, position)
            except OSError as error:
                return error

        answers = await asyncio.gather(*map(ask, [each for each in holders if placement.is_up(each)] or holders))
        pages = [each for each in answers if isinstance(each, list)]
        if not pages:
            failures = (each for each in answers if isinstance(each, OSError))
            raise next(failures, OSError(f"group {self._replica.group}: no node that has all of it is up"))
        last = min((page[-1].blob for page in pages if page), default=b"")
        listed = {held.blob: held for page in reversed(pages) for held in page if held.blob <= last}
        return [listed[blob] for blob in sorted(listed)]
