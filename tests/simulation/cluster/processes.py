"""Several processes in one loop in virtual time: each can be paused, put to sleep with its machine, or killed.

To which process a callback belongs is said by its context, which tasks hand down to all that they start. What belongs to
none is the world itself: network, brokers, clients' watches.
"""

import asyncio
import contextvars
import heapq
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.simulation.loop import Deadlock, SimulatedLoop

T = TypeVar("T")
STEP_S = 0.0005
TASKS_MAX = 256  # kept in mind, before those that are done are forgotten
PROCESS: contextvars.ContextVar["Process"] = contextvars.ContextVar("process")


class Process:
    """Runs nothing while it is paused, and never again once it is dead."""

    def __init__(self, loop: "ClusterLoop", boot_s: float, release: int = 0) -> None:
        self.loop = loop
        self.release = release
        self.is_paused = False
        self.is_dead = False
        self.has_sent = True  # whether appends under way at the pause left the machine before it
        self.when_resumed: list[Callable[[], None]] = []
        self.awaited: dict[str, Callable[[], None]] = {}  # what befalls it at its next moment of a kind
        self._boot_s = boot_s - loop.time()
        self._held: list[Any] = []
        self._context = contextvars.Context()
        self._context.run(PROCESS.set, self)

    def clock_s(self) -> float:
        """Its machine's clock since boot: goes on while it is paused or asleep."""
        return self.loop.time() + self._boot_s

    def run(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task: asyncio.Task[T] = self.loop.create_task(work, context=self._context)
        return task

    def reach(self, moment: str) -> None:
        """A moment at which a fault does most harm."""
        if befall := self.awaited.pop(moment, None):
            befall()

    def pause(self, seconds: float, *, asleep: bool = False, has_sent: bool = True) -> None:
        """`asleep`: with its machine, so that its timers stand still too."""
        if self.is_paused or self.is_dead:
            return
        self.is_paused, self.has_sent = True, has_sent
        if asleep:
            self.loop.put_off(self, seconds)
        self.loop.in_world(seconds, self.resume)

    def resume(self) -> None:
        if not self.is_paused or self.is_dead:
            return
        self.is_paused = False
        self.loop.add_ready(self._held)
        self._held, late, self.when_resumed = [], self.when_resumed, []
        for send in late:
            send()

    def kill(self) -> None:
        self.is_dead, self.is_paused = True, False
        self._held, self.when_resumed = [], []
        self.loop.abandon(self)

    def admits(self, handle: Any) -> bool:
        if self.is_paused:
            self._held.append(handle)
        return not (self.is_paused or self.is_dead)


def current_release() -> int:
    """Of the process that runs now."""
    return PROCESS.get().release


class ClusterLoop(SimulatedLoop):
    _ready: Any
    _scheduled: Any

    def __init__(self, rng: random.Random, now_s: float) -> None:
        self._owned: dict[Process | None, dict[asyncio.Task[Any], None]] = {}
        super().__init__(rng, now_s)

    def in_world(self, after_s: float, call: Callable[[], None]) -> None:
        """Of no process, so that none has to run for it."""
        self.call_later(after_s, call, context=contextvars.Context())

    def add_ready(self, handles: list[Any]) -> None:
        self._ready.extend(handles)

    def put_off(self, process: Process, seconds: float) -> None:
        for handle in self._scheduled:
            if handle._context.get(PROCESS) is process:
                handle._when += seconds
        heapq.heapify(self._scheduled)

    def create_task(self, coro: Any, *, name: object = None, context: contextvars.Context | None = None) -> Any:
        task = super().create_task(coro, name=name, context=context)
        owner = PROCESS.get(None) if context is None else context.get(PROCESS)
        self._tasks_of(owner)[task] = None
        return task

    def _tasks_of(self, owner: Process | None) -> dict[asyncio.Task[Any], None]:
        tasks = self._owned.setdefault(owner, {})
        if len(tasks) > TASKS_MAX:
            for task in [each for each in tasks if each.done()]:
                del tasks[task]
        return tasks

    def abandon(self, owner: Process | None) -> None:
        """All that its coroutines do on their way out reaches nobody."""
        tasks = self._tasks_of(owner)
        while tasks:
            task, _ = tasks.popitem()
            if not task.done():
                self.cancel_at_once(task)

    def close(self) -> None:
        if not self.is_closed():
            while any(self._owned.values()):  # some begin others on their way out
                for owner in list(self._owned):
                    self.abandon(owner)
            self._ready.clear()
        super().close()

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Nothing: when the collector comes must not be part of the run."""

    def _run_once(self) -> None:
        ready, timers = self._ready, self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise Deadlock
            self.now_s = max(self.now_s, timers[0]._when)
        while timers and timers[0]._when <= self.now_s:
            handle = heapq.heappop(timers)
            handle._scheduled = False
            ready.append(handle)
        batch = list(ready)
        ready.clear()
        if len(batch) > 1:
            self._rng.shuffle(batch)
        self.now_s += STEP_S
        for handle in batch:
            if not handle._cancelled:
                owner = handle._context.get(PROCESS)
                if owner is None or owner.admits(handle):
                    handle._run()
