"""What one process does with the partitions: it follows each (a warm follower), and owns those that it was assigned.

An owner has a runtime, started by a claim and held by a lease. What it is not assigned any more it goes on to own until
another has claimed it; and the partitions of one that fell silent are taken before the group has missed it. So there is
always somebody who answers: the log and the lease see to it that no two do. A partition whose view does not fit the log, or
that no codec can read, stops loudly; the others go on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable

from processors.leases import Leases
from processors.replica import Replica, ViewMismatch
from processors.runtime import Fenced, PartitionRuntime, Replies
from processors.view import View
from topics.log import Log, LogError, UnknownRecord
from topics.spec import EVENTS

AGAIN_S = 0.5  # after a log that could not be read or written
FINISH_S = 2.0  # for a batch to end; else whoever claims next finds out what became of it
HAND_OVER_S = 5.0  # longer than the group takes to assign what a member has left
HAND_OVER_LOOK_S = 0.02
FENCED_AGAIN_S = 3.0  # longer than a member of the group takes to hear that it is none
log_ = logging.getLogger(__name__)


class Ownership:
    def __init__(self, log: Log, open_view: Callable[[int], View], owner: str, leases: Leases, replies: Replies) -> None:
        self._log = log
        self._owner = owner
        self._leases = leases
        self._replies = replies
        self.views = {number: open_view(number) for number in range(EVENTS.partitions)}
        self.replicas = {number: Replica(log, view, number) for number, view in self.views.items()}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._assigned: set[int] = set()
        self._owning: set[int] = set()  # or trying to
        self._standing_in: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self.stopped: dict[int, Exception] = {}  # what is neither owned nor followed any more, and why
        self.runtimes: dict[int, PartitionRuntime] = {}  # of what is owned now

    def decided(self) -> dict[int, int]:
        """Of what is owned now: the offset below which all commands are decided."""
        return {number: runtime.decided_below for number, runtime in self.runtimes.items()}

    def start(self) -> None:
        """Follow every partition, and take those whose owners fall silent."""
        for number in self.replicas:
            self._run(number, self._follow)
        self._standing_in = asyncio.create_task(self._stand_in(), name="standing in")

    def is_followed(self, number: int) -> bool:
        """Whether the partition's view still goes with the log."""
        task = self._tasks.get(number)
        return task is None or not task.done()

    async def gained(self, partitions: set[int]) -> None:
        async with self._changing:
            self._assigned |= partitions
            await self._take(partitions)

    async def lost(self, partitions: set[int]) -> None:
        """Somebody else may be assigned these, and will claim them."""
        async with self._changing:
            self._assigned -= partitions

    async def hand_over(self) -> None:
        """Returns when others have claimed what is owned here and not assigned any more; soon, if nobody else is there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_S):
                while self.runtimes and not self._leases.is_alone:  # noqa: ASYNC110 - one that falls silent wakes nobody
                    await asyncio.sleep(HAND_OVER_LOOK_S)

    async def close(self) -> None:
        """Returns when nothing of this process can be in the log or in an answer any more."""
        if self._standing_in is not None:
            self._standing_in.cancel()
            await asyncio.gather(self._standing_in, return_exceptions=True)
        await asyncio.gather(*(self._stop(number) for number in set(self.replicas)))
        await self._leases.leave()
        for view in self.views.values():
            view.close()

    def unready(self) -> list[str]:
        """Why it should not be relied on: what stopped, and views that a takeover would wait for."""
        behind = [number for number, replica in self.replicas.items() if not replica.is_current]
        stopped = [f"partition {number} stopped: {error}" for number, error in self.stopped.items()]
        return stopped + ([f"views are being brought up to date: {_listed(behind)}"] if behind else [])

    async def _take(self, partitions: set[int]) -> None:
        for number in partitions:
            if number not in self._owning or self._tasks[number].done():
                await self._stop(number)
                self._owning.add(number)
                self._run(number, self._own)

    async def _stand_in(self) -> None:
        while True:
            orphaned = await self._leases.orphaned()
            async with self._changing:
                if fresh := {number for number in orphaned if number not in self._owning and self.is_followed(number)}:
                    log_.warning("nobody speaks for partitions %s any more: they are taken", _listed(fresh))
                    await self._take(fresh)
            await asyncio.sleep(AGAIN_S)

    def _run(self, number: int, work: Callable[[int], Awaitable[None]]) -> None:
        self.stopped.pop(number, None)
        self._tasks[number] = asyncio.create_task(self._guarded(number, work), name=f"partition {number}")

    async def _guarded(self, number: int, work: Callable[[int], Awaitable[None]]) -> None:
        try:
            await work(number)
        except (ViewMismatch, UnknownRecord) as error:
            self.stopped[number] = error
            log_.critical("partition %d stopped: %s", number, error)
        except Exception as error:  # an event that no codec knows, a bug: this partition stops, and no other
            self.stopped[number] = error
            log_.critical("partition %d stopped: %s; report it", number, error, exc_info=error)

    async def _follow(self, number: int) -> None:
        while True:
            try:
                await self.replicas[number].follow()
            except LogError as error:
                log_.warning("partition %d cannot be followed and will be again: %s", number, error)
                await asyncio.sleep(AGAIN_S)

    async def _own(self, number: int) -> None:
        """Until another claims the partition, or it cannot be claimed; again while it is assigned; then follow it."""
        while True:
            try:
                await self._claim_and_run(number)
            except LogError as error:
                log_.error("partition %d will be claimed again: %s", number, error)
                await self._leases.let_go({number})
                await asyncio.sleep(AGAIN_S)
            except Fenced as error:
                await self._leases.let_go({number})
                if number in self._assigned:  # if it is not, the group tells before the time is over
                    log_.warning("partition %d was claimed by another: %s", number, error)
                    await asyncio.sleep(FENCED_AGAIN_S)
            if number not in self._assigned:
                break
        self._owning.discard(number)
        await self._follow(number)

    async def _claim_and_run(self, number: int) -> None:
        """Decides nothing before whoever owned the partition can answer no read any more."""
        leases = self._leases
        runtime = PartitionRuntime(
            self._log,
            self.replicas[number],
            self._owner,
            self._replies,
            may_refuse=lambda: leases.is_held(number),
            is_succeeded=lambda: leases.is_succeeded(number, runtime.epoch),
        )
        self._leases.before_claim(number)
        await runtime.claim()
        if not await self._leases.take(number, runtime.epoch):
            raise Fenced(f"{number}: another owner has claimed it at the same time")
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


def _listed(partitions: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(partitions)))
