"""A blob on its way through the node that leads its group: into its own volumes and on to the other targets while it
arrives. It stands when a quorum has synced it; a follower that is slow or gone does not hold it up, and gets it later by
its claim check.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from datanode.node import Writer

CHUNKS_MAX = 64  # that wait for a follower: a few MiB
SLOW_S = 0.5  # for a follower to take a chunk, before the blob goes on without it
LINGER_S = 0.02  # behind the quorum, for the others to be named as holders too
Create = Callable[[], Awaitable[Writer]]
_background: set[asyncio.Task[None]] = set()  # followers that finish behind the quorum


class _Follower:
    """One follower: what it is to be sent, and the task that sends it."""

    def __init__(self, create: Create) -> None:
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_MAX)
        self.task = asyncio.create_task(self._send(create))
        _background.add(self.task)
        self.task.add_done_callback(_finished)

    async def offer(self, chunk: bytes | None) -> None:
        """One that does not take it in time is given up."""
        if self.task.done():
            return
        try:
            await asyncio.wait_for(self._chunks.put(chunk), SLOW_S)
        except TimeoutError:
            self.task.cancel()

    async def _send(self, create: Create) -> None:
        writer = await create()
        try:
            while (chunk := await self._chunks.get()) is not None:
                await writer.write(chunk)
            await writer.commit()
        except BaseException:
            await writer.abort()
            raise


class LeadingWriter:
    def __init__(self, own: str, local: Writer, followers: Mapping[str, Create], quorum: int) -> None:
        self._own = own
        self._local = local
        self._followers = {name: _Follower(create) for name, create in followers.items()}
        self._quorum = quorum

    @property
    def crc32c(self) -> int:
        return self._local.crc32c

    async def write(self, data: bytes) -> None:
        await self._local.write(data)
        for each in self._followers.values():
            await each.offer(data)

    async def commit(self) -> list[str]:
        """Names of those that have synced it. Raises `OSError` where they are fewer than the quorum."""
        for each in self._followers.values():
            await each.offer(None)
        await self._local.commit()
        holders = await self._quorum_of({each.task: name for name, each in self._followers.items()})
        if len(holders) < self._quorum:
            raise OSError(f"only {len(holders)} of {self._quorum} copies could be written")
        return holders

    async def _quorum_of(self, sending: dict["asyncio.Task[None]", str]) -> list[str]:
        while len(holders := self._holders(sending)) < self._quorum and not all(task.done() for task in sending):
            await asyncio.wait([task for task in sending if not task.done()], return_when=asyncio.FIRST_COMPLETED)
        if remaining := [task for task in sending if not task.done()]:
            await asyncio.wait(remaining, timeout=LINGER_S)
            holders = self._holders(sending)
        return holders

    def _holders(self, sending: dict["asyncio.Task[None]", str]) -> list[str]:
        return [self._own, *(name for task, name in sending.items() if _succeeded(task))]

    async def abort(self) -> None:
        for each in self._followers.values():
            each.task.cancel()
        await self._local.abort()
        await asyncio.gather(*(each.task for each in self._followers.values()), return_exceptions=True)


def _succeeded(task: "asyncio.Task[None]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _finished(task: "asyncio.Task[None]") -> None:
    _background.discard(task)
    if not task.cancelled():
        task.exception()  # told by the quorum that is missing, or mended by the claim check
