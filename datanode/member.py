"""A data node as a member of its cluster: it follows the map, serves the groups that the map gives it, copies those that
are new to it, gives up those that went elsewhere, and says so.

Rules: nothing is dropped before the map knows this very process, for an older map may not count its data; a group is
dropped when the node is neither its target nor its holder, no claim can come any more that names what it committed, and a
quorum of its holders lacks nothing of it. What the node lost (a truncated volume) it tells before it copies it again.
Errors: `NodeReplaced` where another process goes by the node's name now.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple

from datanode.copy import GroupCopy
from datanode.fetch import Fetch
from datanode.node import CLAIM_S, Nodes
from datanode.placement import PlacementMap
from datanode.replica import GroupReplica
from datanode.store import VolumeStore
from topics import commands
from topics.log import Log, LogError, UnknownRecord
from topics.placement import Group, Placement
from topics.spec import TopicPartition

AGAIN_S = 1.0  # until what was said is said again, if the map does not show it
COPY_AGAIN_S = 2.0
RESTART_S, RESTART_S_MAX = 1.0, 30.0  # before a replica that failed is begun again: doubled each time
LAST = b"\xff" * 16  # no blob's id is above it
WELCOME_S = 20.0  # within which a node that is well is in the map
Submit = Callable[[commands.Body], Awaitable[None]]
log_ = logging.getLogger(__name__)


class NodeReplaced(Exception):
    """Another process goes by this node's name."""


class Identity(NamedTuple):
    name: str
    incarnation: str  # of its data folder
    boot: str  # of this process


class Member:
    def __init__(
        self, own: Identity, log: Log, store: VolumeStore, known: PlacementMap, nodes: Nodes, fetch: Fetch, submit: Submit
    ) -> None:
        self._own = own
        self._log = log
        self._store = store
        self._map = known
        self._nodes = nodes
        self._fetch = fetch
        self._submit = submit
        self._was_registered = False
        self.lost = set(store.lost)  # groups of which blobs are missing, and the map does not show it
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}  # what runs for a group, by kind
        self._standing: dict[int, str] = {}  # groups whose replicas wait to be begun again: why
        self.replicas: dict[int, GroupReplica] = {}
        self.copies: dict[int, GroupCopy] = {}

    @property
    def is_registered(self) -> bool:
        """Whether the map knows this process."""
        node = self._map.current.nodes.get(self._own.name)
        return node is not None and (node.incarnation, node.boot) == (self._own.incarnation, self._own.boot)

    def unready(self) -> list[str]:
        """Why the node does not serve as it should."""
        ended = [group for (kind, group), task in self._tasks.items() if kind == "replica" and task.done()]
        why = [] if self.is_registered else ["the cluster's map does not have this process"]
        standing = [f"group {group} is not consumed: {error}" for group, error in self._standing.items()]
        return [*why, *(f"group {group} is not consumed any more" for group in ended), *standing]

    def holds(self, group: int) -> bool:
        """Whether all blobs of a group are here, and everybody knows."""
        holders = self._map.current.groups[group].holders or []
        return self.is_registered and self._own.name in holders and group not in self.lost

    def sources(self, group: int) -> list[str]:
        """Who else may have a group's blobs, best first."""
        placement = self._map.current
        found = placement.groups[group]
        names = dict.fromkeys([*(found.holders or []), *found.targets])
        return sorted((each for each in names if each != self._own.name), key=lambda name: not placement.is_up(name))

    async def run(self) -> None:
        """For ever. Raises `NodeReplaced`."""
        patience = asyncio.create_task(self._wait_for_welcome())
        try:
            while True:
                placement = self._map.current
                self._check(placement)
                try:
                    self._serve(placement)
                except OSError as error:
                    log_.error("the map cannot be followed now, this will be tried again: %s", error)
                    await asyncio.sleep(AGAIN_S)
                    continue
                await self._map.changed(placement.epoch)
        finally:
            patience.cancel()
            await self.stop()

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _check(self, placement: Placement) -> None:
        node = placement.nodes.get(self._own.name)
        if self._was_registered and not self.is_registered:
            raise NodeReplaced(
                f"another process is the data node {self._own.name} now"
                + (f", at {node.endpoint}" if node else "")
                + "; each node needs a name and a data folder of its own (BUCKETLOG_NODE, --data)"
            )
        self._was_registered = self.is_registered

    async def _wait_for_welcome(self) -> None:
        await asyncio.sleep(WELCOME_S)
        if not self.is_registered:
            log_.error(
                "data node %s is not in the cluster's map after %d s: is a processor running, are the cluster secret and "
                "the clock right, and is no other node of this name up? The processors' log says what they heard",
                self._own.name,
                WELCOME_S,
            )

    def _serve(self, placement: Placement) -> None:
        node = placement.nodes.get(self._own.name)
        if node is None or node.incarnation != self._own.incarnation:
            return
        for number, group in enumerate(placement.groups):
            if self._own.name in group.members:
                self._take_part(number, group)
            elif self.is_registered and (number in self.replicas or number in self._store.groups()):
                self._give_up(number)

    def _take_part(self, number: int, group: Group) -> None:
        if number not in self.replicas:
            self._start(number)
        if self.is_registered:
            self._mend(number, group)

    def _start(self, number: int) -> None:
        def on_gap() -> None:
            self.lost.add(number)
            self._mend(number, self._map.current.groups[number])

        async def serve() -> None:
            if dropping is not None:  # the node had given the group up; what is still here is here
                dropping.cancel()
                await asyncio.wait({dropping})
            await self._keep_running(replica)

        replica = GroupReplica(self._log, self._store, number, self._fetch, lambda: self.sources(number), on_gap)
        dropping = self._tasks.get(("drop", number))
        self.replicas[number] = replica
        self._run("replica", number, serve())

    async def _keep_running(self, replica: GroupReplica) -> None:
        """A group that stands still on one node fills the log of all: whatever ends its replica, it is begun again where it
        was. Raises `UnknownRecord`: that would be met again."""
        loop, pause_s = asyncio.get_running_loop(), RESTART_S
        while True:
            began_s = loop.time()
            self._standing.pop(replica.group, None)
            try:
                await replica.run()
            except UnknownRecord:
                raise
            except Exception as error:
                self._standing[replica.group] = str(error)
                log_.exception("group %d stands still and goes on in %g s", replica.group, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = RESTART_S if loop.time() - began_s > 2 * RESTART_S_MAX else min(2 * pause_s, RESTART_S_MAX)

    def _mend(self, number: int, group: Group) -> None:
        """Tell what was lost; copy what is not held."""
        holders = group.holders or []
        if number in self.lost and holders == [self._own.name]:
            self.lost.discard(number)
            if self._map.current.copies > 1:
                log_.critical("group %d may lack blobs that were here, and no other node holds it", number)
        if self._own.name not in holders:
            self.lost.discard(number)
        if number in self.lost:
            self._run("lost", number, self._say(number, holds=False))
        elif self._own.name in group.targets and self._own.name not in holders:
            self._run("copy", number, self._copy(number))

    def _give_up(self, number: int) -> None:
        async def drop() -> None:
            await asyncio.gather(*stopping, return_exceptions=True)
            await asyncio.sleep(CLAIM_S)  # for the claims of what was committed here, which others learn of by them
            await self._others_have(number)
            await self._drop(number)
            log_.info("group %d is held by others now; its blobs here were given up", number)

        self.replicas.pop(number, None)
        self._standing.pop(number, None)
        stopping = [self._tasks.pop(key) for key in list(self._tasks) if key[1] == number and key[0] != "drop"]
        for task in stopping:
            task.cancel()
        self._run("drop", number, drop())

    async def _drop(self, number: int) -> None:
        while True:
            try:
                return await self._store.drop_group(number)
            except OSError as error:
                log_.error("group %d cannot be dropped now, this will be tried again: %s", number, error)
            await asyncio.sleep(AGAIN_S)

    async def _others_have(self, number: int) -> None:
        """Returns when enough of a group's holders have all of it, to the end of its log: some may still fetch blobs of
        which one copy is here."""
        while True:
            try:
                latest = await self._log.latest(TopicPartition("writes", number))
                placement = self._map.current
                holders = placement.groups[number].holders or []
                up = [name for name in holders if placement.is_up(name)]
                asked = (self._nodes(placement.endpoint(name)).blobs(number, LAST, latest) for name in up)
                answers = await asyncio.gather(*asked, return_exceptions=True)
                if sum(isinstance(each, list) for each in answers) >= min(placement.quorum, len(holders)):
                    return
            except LogError as error:
                log_.warning("group %d cannot be given up yet: %s", number, error)
            await asyncio.sleep(COPY_AGAIN_S)

    async def _copy(self, number: int) -> None:
        """Until the map counts this node among the group's holders."""
        replica = self.replicas[number]
        copy = self.copies[number] = GroupCopy(
            replica, self._store, self._fetch, self._map, self._nodes, lambda: self._holders(number)
        )
        try:
            while True:
                try:
                    await copy.run()
                    if number not in await self._store.sync():  # so that a start knows if something of it is lost
                        break
                    log_.warning("group %d is copied and cannot be synced yet", number)
                    await asyncio.sleep(COPY_AGAIN_S)
                except OSError as error:
                    log_.warning("group %d cannot be copied and will be tried again: %s", number, error)
                    await asyncio.sleep(COPY_AGAIN_S)
        finally:
            if self.copies.get(number) is copy:  # else it was broken off, and begun again already
                del self.copies[number]
        await self._say(number, holds=True)

    def _holders(self, number: int) -> list[str]:
        holders = self._map.current.groups[number].holders or []
        return [each for each in self.sources(number) if each in holders]

    async def _say(self, number: int, *, holds: bool) -> None:
        """Until the map shows it, or does not ask for it any more."""

        def is_open() -> bool:
            group = self._map.current.groups[number]
            return self._own.name in group.members and (self._own.name in (group.holders or [])) != holds

        while is_open():
            try:
                await self._submit(commands.HoldGroup(self._own.name, self._own.boot, number, holds))
            except LogError as error:
                log_.warning("that group %d is held here cannot be said yet: %s", number, error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    while is_open():  # at once: what is said next may be the contrary
                        await self._map.changed(self._map.current.epoch)

    def _run(self, kind: str, number: int, work: Coroutine[Any, Any, None]) -> None:
        """One of a kind for a group at a time."""
        running = self._tasks.get((kind, number))
        if running is not None and not running.done():
            work.close()
            return
        self._tasks[kind, number] = asyncio.create_task(work, name=f"{kind} of group {number}")
        self._tasks[kind, number].add_done_callback(_tell)


def _tell(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log_.critical("%s stopped: %s", task.get_name(), error, exc_info=error)
