"""What one process owns: for each partition that it was assigned a runtime, started by a claim and held by a lease.

A partition whose view does not fit the log, or that no codec can read, stops loudly; the others go on.
"""

import asyncio
import logging
from collections.abc import Callable

from processors.leases import Leases
from processors.runtime import Fenced, PartitionRuntime, Replies, ViewMismatch
from processors.view import View
from topics.log import Log, LogError

AGAIN_S = 0.5  # after a log that could not be written
FENCED_AGAIN_S = 3.0  # longer than a member of the group takes to hear that it is none
log_ = logging.getLogger(__name__)


class Ownership:
    def __init__(self, log: Log, open_view: Callable[[int], View], owner: str, leases: Leases, replies: Replies) -> None:
        self._log = log
        self._open_view = open_view
        self._owner = owner
        self._leases = leases
        self._replies = replies
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.views: dict[int, View] = {}  # of every partition that was ever owned here: a later fold goes on from there
        self.runtimes: dict[int, PartitionRuntime] = {}  # of what is owned now

    def epochs(self) -> dict[int, int]:
        return {number: runtime.meta.epoch for number, runtime in self.runtimes.items()}

    async def gained(self, partitions: set[int]) -> None:
        for number in partitions - set(self._tasks):
            self._tasks[number] = asyncio.create_task(self._own(number), name=f"partition {number}")

    async def lost(self, partitions: set[int]) -> None:
        """Returns when nothing of this process can be in the log or in an answer any more."""
        await asyncio.gather(*(self._stop(number) for number in partitions))
        await self._leases.let_go(partitions)

    async def close(self) -> None:
        await self.lost(set(self._tasks))
        for view in self.views.values():
            view.close()

    async def _own(self, number: int) -> None:
        try:
            while True:
                try:
                    return await self._run(number)
                except LogError as error:
                    log_.error("partition %d will be claimed again: %s", number, error)
                    await asyncio.sleep(AGAIN_S)
                except Fenced as error:  # if it is not ours any more, the group tells before the time is over
                    log_.warning("partition %d was claimed by another: %s", number, error)
                    await asyncio.sleep(FENCED_AGAIN_S)
        except ViewMismatch as error:
            log_.critical("partition %d stopped: %s", number, error)
        except Exception as error:  # a record that no codec knows, a bug: this partition stops, and no other
            log_.critical("partition %d stopped: %s; report it", number, error, exc_info=error)
            raise

    async def _run(self, number: int) -> None:
        if number not in self.views:
            self.views[number] = self._open_view(number)
        runtime = PartitionRuntime(self._log, self.views[number], number, self._owner, self._replies)
        await runtime.claim()
        self.runtimes[number] = runtime
        await self._leases.take(number, runtime.meta.epoch)
        await runtime.run(claimed=True)

    async def _stop(self, number: int) -> None:
        task, runtime = self._tasks.pop(number, None), self.runtimes.pop(number, None)
        if runtime is not None:
            await runtime.idle()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
