"""How much a node does at once, and how fast, of what clients do not wait for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

COPY_BYTES_PER_S = 256e6
BURST_S = 1.0  # a second's worth may come at once
BUSY_S = 5.0  # a source that could give no sooner says so: who asks waits 10 s for an answer


class Rate:
    """A token bucket: who takes more than there is waits until it has come in."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at_s = 0.0

    async def take(self, size: int) -> None:
        now_s = asyncio.get_running_loop().time()
        self._free_at_s = max(self._free_at_s, now_s) + size / self._bytes_per_s
        if (wait_s := self._free_at_s - now_s - BURST_S) > 0:
            await asyncio.sleep(wait_s)

    @property
    def is_busy(self) -> bool:
        """Whether what is taken now would wait for long."""
        return self._free_at_s - asyncio.get_running_loop().time() > BURST_S + BUSY_S


class _Waiting(NamedTuple):
    urgency: Callable[[], int]
    place: asyncio.Future[None]


class Turns:
    """So many at once. A free place goes to who has the lowest urgency then, of these to who has waited longest."""

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        self._waiting: list[_Waiting] = []

    @asynccontextmanager
    async def turn(self, urgency: Callable[[], int] = lambda: 0) -> AsyncIterator[None]:
        if self._free:
            self._free -= 1
        else:
            await self._wait(urgency)
        try:
            yield
        finally:
            self._give_back()

    async def _wait(self, urgency: Callable[[], int]) -> None:
        waiting = _Waiting(urgency, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        try:
            await waiting.place
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            else:  # it was given the place in the same moment
                self._give_back()
            raise

    def _give_back(self) -> None:
        if not self._waiting:
            self._free += 1
            return
        first = min(range(len(self._waiting)), key=lambda number: self._waiting[number].urgency())
        self._waiting.pop(first).place.set_result(None)
