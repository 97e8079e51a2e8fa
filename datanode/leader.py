"""A blob on its way through the node that leads its group: into its own volumes and on to the other targets while it
arrives. It stands when a quorum has synced it; a follower that is slow or gone does not hold it up, and gets it later by
its claim check. Where no quorum can be had, who sends the blob is told at once, and without whom.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from datanode.node import QUORUM_S, TooFewCopies, Writer

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

    @property
    def has_failed(self) -> bool:
        return (self.task.done() or self.task.cancelling() > 0) and not self.has_synced

    @property
    def has_synced(self) -> bool:
        return self.task.done() and not self.task.cancelled() and self.task.exception() is None

    def takes_at_once(self, chunk: bytes | None) -> bool:
        if not self.task.done():
            if self._chunks.full():
                return False
            self._chunks.put_nowait(chunk)
        return True

    async def take(self, chunk: bytes | None) -> None:
        """One that does not take it in time is given up."""
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
    def __init__(
        self, own: str, local: Writer, followers: Mapping[str, Create], quorum: int, quorum_s: float = QUORUM_S
    ) -> None:
        """Errors of all methods: `TooFewCopies`, and those of `local`."""
        self._own = own
        self._local = local
        self._followers = {name: _Follower(create) for name, create in followers.items()}
        self._quorum = quorum
        self._quorum_s = quorum_s

    @property
    def crc32c(self) -> int:
        return self._local.crc32c

    async def write(self, data: bytes) -> None:
        await self._local.write(data)
        await self._offer(data)

    async def commit(self) -> list[str]:
        """Names of those that have synced it."""
        deadline_s = asyncio.get_running_loop().time() + self._quorum_s
        await self._offer(None)
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._local.commit()
        except TimeoutError as error:
            raise OSError(f"the disk of {self._own} did not sync a blob within {self._quorum_s:g} s") from error
        while len(self._holders()) < self._quorum and (sending := self._sending()):
            left_s = deadline_s - asyncio.get_running_loop().time()
            done, _ = await asyncio.wait(sending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                for task in sending:
                    task.cancel()
                break
        if len(self._holders()) < self._quorum:
            raise self._too_few()
        if sending := self._sending():
            await asyncio.wait(sending, timeout=LINGER_S)
        return self._holders()

    async def abort(self) -> None:
        for each in self._followers.values():
            each.task.cancel()
        await self._local.abort()
        await asyncio.gather(*(each.task for each in self._followers.values()), return_exceptions=True)

    async def _offer(self, chunk: bytes | None) -> None:
        if slow := [each for each in self._followers.values() if not each.takes_at_once(chunk)]:
            await asyncio.gather(*(each.take(chunk) for each in slow))
        if 1 + sum(not each.has_failed for each in self._followers.values()) < self._quorum:
            raise self._too_few()

    def _holders(self) -> list[str]:
        return [self._own, *(name for name, each in self._followers.items() if each.has_synced)]

    def _sending(self) -> list["asyncio.Task[None]"]:
        return [each.task for each in self._followers.values() if not each.task.done()]

    def _too_few(self) -> TooFewCopies:
        without = [name for name, each in self._followers.items() if each.has_failed]
        of_whom = f"; not by {' and '.join(without)}" if without else ""
        return TooFewCopies(f"only {len(self._holders())} of {self._quorum} copies could be written{of_whom}", without)


def _finished(task: "asyncio.Task[None]") -> None:
    _background.discard(task)
    if not task.cancelled():
        task.exception()  # told by the quorum that is missing, or mended by the claim check
