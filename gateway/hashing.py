"""Hashing beside the loop: hashlib lets go of the interpreter while it hashes, so the digests of a large body are computed
at once, and other requests go on meanwhile."""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

BESIDE_BYTES_MIN = 256 << 10  # of a body: the way to a thread takes longer than to hash less
THREADS = max(2, os.cpu_count() or 1)
_threads = ThreadPoolExecutor(THREADS, "hashing")


class Hashing:
    """Of one body: each lane sees all pieces in their order, and lanes go on beside each other."""

    def __init__(self, lanes: Sequence[Callable[[bytes], None]], *, is_beside: bool) -> None:
        """`is_beside`: false for what is so small that the way to a thread takes longer."""
        self._lanes = lanes
        self._is_beside = is_beside
        self._running: list[asyncio.Future[None]] = []

    async def add(self, piece: bytes) -> None:
        """Returns when the one before is hashed."""
        if not self._is_beside:
            for lane in self._lanes:
                lane(piece)
            return
        await self.end()
        loop = asyncio.get_running_loop()
        self._running = [loop.run_in_executor(_threads, lane, piece) for lane in self._lanes]

    async def end(self) -> None:
        """Returns when all is hashed."""
        running, self._running = self._running, []
        for each in running:
            await each
