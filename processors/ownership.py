"""What one process does with the partitions: it follows each (a warm follower), and owns those that it was assigned.

An owner has a runtime, started by a claim and held by a lease. An owner in doubt whether a partition was given to another
goes on, as the log and the lease see to it that no two act; but it claims nothing until it knows. A partition whose view
does not fit the log, or that no codec can read, stops loudly; the others go on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from processors.leases import Leases
from processors.replica import Replica, ViewMismatch
from processors.runtime import Fenced, PartitionRuntime, Replies
from processors.view import View
from topics.log import Log, LogError, UnknownRecord
from topics.spec import EVENTS

AGAIN_S = 0.5  # after a log that could not be read or written
FINISH_S = 2.0  # for a batch to end; else whoever claims next finds out what became of it
FENCED_AGAIN_S = 3.0  # longer than a member of the group takes to hear that it is none
log_ = logging.getLogger(__name__)


class Ownership:
    def __init__(self, log: Log, open_view: Callable[[int], View], owner: str, leases: Leases, replies: Replies) -> None:
        self._log = log
        self._owner = owner
        self._leases = leases
        self._replies = replies
        self.views = {number: open_view(number) for number in range(EVENTS.partitions)}
        self._replicas = {number: Replica(log, view, number) for number, view in self.views.items()}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._owned: set[int] = set()
        self._certain = {number: asyncio.Event() for number in self.views}  # of what is owned: that it still is
        self._changing = asyncio.Lock()
        self.runtimes: dict[int, PartitionRuntime] = {}  # of what is owned now

    def start(self) -> None:
        """Follow every partition."""
        for number in self._replicas:
            self._run(number, self._follow)

    async def gained(self, partitions: set[int]) -> None:
        async with self._changing:
            for number in partitions - self._owned:
                await self._stop(number)
                self._run(number, self._own)
            self._owned |= partitions
            for number in partitions:
                self._certain[number].set()

    async def doubted(self, partitions: set[int]) -> None:
        """They may have been given to another; `gained` or `lost` will tell."""
        async with self._changing:
            for number in partitions:
                self._certain[number].clear()

    async def lost(self, partitions: set[int]) -> None:
        """Returns when nothing of this process can be in the log or in an answer any more."""
        async with self._changing:
            await asyncio.gather(*(self._stop(number) for number in partitions))
            await self._leases.let_go(partitions)
            self._owned -= partitions
            for number in partitions:
                self._run(number, self._follow)

    async def close(self) -> None:
        numbers = set(self._replicas)
        await asyncio.gather(*(self._stop(number) for number in numbers))
        await self._leases.let_go(numbers)
        for view in self.views.values():
            view.close()

    def _run(self, number: int, work: Callable[[int], Awaitable[None]]) -> None:
        self._tasks[number] = asyncio.create_task(self._guarded(number, work), name=f"partition {number}")

    async def _guarded(self, number: int, work: Callable[[int], Awaitable[None]]) -> None:
        try:
            await work(number)
        except (ViewMismatch, UnknownRecord) as error:
            log_.critical("partition %d stopped: %s", number, error)
        except Exception as error:  # an event that no codec knows, a bug: this partition stops, and no other
            log_.critical("partition %d stopped: %s; report it", number, error, exc_info=error)

    async def _follow(self, number: int) -> None:
        while True:
            try:
                await self._replicas[number].follow()
            except LogError as error:
                log_.warning("partition %d cannot be followed and will be again: %s", number, error)
                await asyncio.sleep(AGAIN_S)

    async def _own(self, number: int) -> None:
        while True:
            try:
                await self._claim_and_run(number)
            except LogError as error:
                log_.error("partition %d will be claimed again: %s", number, error)
                await asyncio.sleep(AGAIN_S)
            except Fenced as error:  # if it is not ours any more, the group tells before the time is over
                log_.warning("partition %d was claimed by another: %s", number, error)
                await asyncio.sleep(FENCED_AGAIN_S)
            await self._certain[number].wait()

    async def _claim_and_run(self, number: int) -> None:
        """Decides nothing before whoever owned the partition can answer no read any more."""
        runtime = PartitionRuntime(self._log, self._replicas[number], self._owner, self._replies)
        await runtime.claim()
        await self._leases.take(number, runtime.epoch)
        self.runtimes[number] = runtime
        running = asyncio.create_task(runtime.run())
        displaced = asyncio.create_task(self._leases.displaced(number))  # told, where no command comes that would show it
        try:
            await asyncio.wait({running, displaced}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            raise Fenced(f"{number}: another owner answers for it")
        finally:
            running.cancel()
            displaced.cancel()
            await asyncio.gather(running, displaced, return_exceptions=True)
            del self.runtimes[number]

    async def _stop(self, number: int) -> None:
        task, runtime = self._tasks.pop(number, None), self.runtimes.get(number)
        if runtime is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(runtime.finish(), FINISH_S)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
