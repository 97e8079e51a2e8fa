"""A run of an object's bytes on its way to a replication group; sent again to another group if its leader fails.

The leader forwards the bytes while they come and commits when enough nodes have synced them; then a claim check in the
group's `writes` tells all its members, those that do not have the blob among them. The bytes of an extent of at most
`RESEND_BYTES_MAX` are kept until it stands; while they are, a leader that stalls is left at once.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from awscrt.checksums import crc32c

from datanode.node import CLAIM_S, QUORUM_S, BlobRef, NoNode, TooFewCopies, Writer
from datanode.routing import Routes
from topics import writes
from topics.log import Entry, Log
from topics.objects import Extent
from topics.spec import TopicPartition

RESEND_BYTES_MAX = 8 << 20  # what SDKs send as one part, and one part of each upload is in memory
STALLED_S = 1.0  # for the first leader to take or commit bytes that are kept
LAST_S = 5.0  # for the last one
QUORUM_SHARE = 0.8  # of that is the leader's to wait for its followers: it is to tell who they are before it is left itself
ATTEMPTS = 4
T = TypeVar("T")


class ExtentWriter:
    """Ends with `commit` or `abort`, exactly one."""

    def __init__(
        self, log: Log, routes: Routes, new_blob: Callable[[], bytes], length: int, partition: int, *, durable: bool
    ) -> None:
        self._log = log
        self._routes = routes
        self._new_blob = new_blob
        self._length = length
        self._partition = partition
        self._durable = durable
        self._kept: list[bytes] | None = [] if length <= RESEND_BYTES_MAX else None
        self._left = length
        self._complete_s = 0.0  # when its last byte was sent, or before: a node commits what it has all of
        self._attempts = 0
        self._tried: dict[int, str] = {}  # groups, and who failed to lead them
        self._missed: dict[str, Sequence[str]] = {}  # by whom, of those: whom it did not reach
        self._writer: Writer | None = None
        self._leader = ""
        self._ref = BlobRef(0, b"", partition)
        self._crc32c = 0

    async def begin(self) -> None:
        """Raises `OSError` where no node takes it."""
        try:
            await self._create()
        except OSError as error:
            await self._again(error)

    async def write(self, data: bytes) -> None:
        """Raises `OSError` where it cannot be sent to any group."""
        if self._kept is not None:
            self._kept.append(data)
        self._crc32c = crc32c(data, self._crc32c)
        self._left -= len(data)
        if not self._left:
            self._complete_s = asyncio.get_running_loop().time()
        try:
            await self._within(self._current.write(data))
        except OSError as error:
            await self._again(error)

    async def commit(self) -> Extent:
        """Raises `OSError` where no group took it, or `LogError`."""
        while True:
            try:
                holders = await self._within(self._current.commit())
                break
            except OSError as error:
                await self._again(error)
        self._judge(holders)
        if self._current.crc32c != self._crc32c:
            raise OSError("the data nodes have other bytes than were sent")
        claim = writes.claim(writes.Claim(self._partition, self._length, self._crc32c, holders))
        at = TopicPartition("writes", self._ref.group)
        (position,) = await self._log.append(at, [Entry(self._ref.blob, claim)], durable=self._durable)
        if asyncio.get_running_loop().time() - self._complete_s > CLAIM_S:
            raise OSError("its claim came too late: who holds the blob may have given up its group meanwhile")
        return Extent(self._ref.blob.hex(), self._ref.group, self._length, self._crc32c, position)

    async def abort(self) -> None:
        if self._writer is not None:
            await self._writer.abort()

    @property
    def _current(self) -> Writer:
        assert self._writer is not None
        return self._writer

    async def _create(self) -> None:
        self._attempts += 1
        self._complete_s = asyncio.get_running_loop().time()
        group, self._leader = self._routes.group_for_large(self._tried)
        self._ref = BlobRef(group, self._new_blob(), self._partition)
        node = self._routes.node(self._leader)
        quorum_s = QUORUM_S if self._kept is None else QUORUM_SHARE * self._patience_s
        self._writer = await self._within(node.create(self._ref, self._length, leads=True, quorum_s=quorum_s))

    async def _again(self, failure: OSError) -> None:
        """Another group, from the first byte. Raises `NoNode` where the bytes are gone, or all attempts."""
        while True:
            await self._leave(failure)
            if (self._kept is None and self._left < self._length) or self._attempts >= ATTEMPTS:
                raise NoNode(f"data node {self._leader or '(none)'} did not take a payload: {failure!r}")
            try:
                await self._create()
                for chunk in self._kept or []:
                    await self._within(self._current.write(chunk))
                return
            except OSError as error:
                failure = error

    async def _leave(self, failure: OSError) -> None:
        """A commit whose answer was lost may stand: its blob is given back. Whom a leader did not reach is gone, or it is
        cut off itself: who takes the bytes then will tell (`_judge`). Of bytes that are not kept nobody will."""
        self._tried[self._ref.group] = self._leader
        without = failure.without if isinstance(failure, TooFewCopies) else ()
        if without:
            self._missed[self._leader] = without
        if self._leader and (not without or self._kept is None):
            self._routes.suspect(self._leader)
        for name in without:
            self._routes.suspect(name)
        if self._writer is None:
            return
        await self._writer.abort()
        self._writer = None
        with contextlib.suppress(Exception):  # if even that fails, it is an orphan
            release = [Entry(self._ref.blob, writes.RELEASE)]
            await self._log.append(TopicPartition("writes", self._ref.group), release, durable=False)

    def _judge(self, holders: Sequence[str]) -> None:
        """Whoever has it is well. A leader that did not reach one of them may be cut off itself."""
        for leader, missed in self._missed.items():
            if well := set(missed).intersection(holders):
                for name in well:
                    self._routes.trust(name)
                if leader not in holders:
                    self._routes.suspect(leader)

    async def _within(self, work: Awaitable[T]) -> T:
        if self._kept is None:
            return await work
        async with asyncio.timeout(self._patience_s):
            return await work

    @property
    def _patience_s(self) -> float:
        """Many that are slow are a busy cluster, not a stalled node."""
        return STALLED_S * self._attempts if self._attempts < ATTEMPTS else LAST_S
