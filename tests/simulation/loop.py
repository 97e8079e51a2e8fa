"""An event loop in virtual time that runs ready callbacks in a seeded order and stops dead after a number of steps.

Its tasks and futures hash by their number, not by their place in memory: sets of them have the same order in every process.
"""

import asyncio
import contextvars
import itertools
import random
import selectors
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
AWAITED_AT_THE_END_MAX = 100  # by one coroutine that is cancelled


class Deadlock(Exception):
    """Nothing is ready and no timer is set."""


class _Selector(selectors.SelectSelector):
    loop: "SimulatedLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock
        self.loop.now_s += max(timeout, 0)
        return []


class _Numbered:
    """From when it is in a set first, or in a dict."""

    _number: int | None = None
    _loop: "SimulatedLoop"

    def __hash__(self) -> int:
        if self._number is None:
            self._number = self._loop.next_number()
        return self._number


class _Task(_Numbered, asyncio.Task[T]):
    pass


class _Future(_Numbered, asyncio.Future[T]):
    pass


class SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self, rng: random.Random, now_s: float) -> None:
        selector = _Selector()
        self.now_s = now_s
        self.steps_left: int | None = None
        self._rng = rng
        self.next_number = itertools.count().__next__
        super().__init__(selector)
        selector.loop = self
        self.set_task_factory(lambda loop, coro, **options: _Task(coro, loop=self, **options))

    def time(self) -> float:
        return self.now_s

    def create_future(self) -> asyncio.Future[Any]:
        return _Future(loop=self)

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Inline: a thread's order would not come from the seed."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed on to who awaits
            future.set_exception(error)
        return future

    def end(self) -> None:
        """The process is dead: nothing goes on; what coroutines do on their way out must reach no disk."""
        ended: set[asyncio.Task[Any]] = set()
        while tasks := asyncio.all_tasks(self) - ended:  # some begin others on their way out
            for task in sorted(tasks, key=hash):
                self.cancel_at_once(task)
            ended |= tasks
        self._ready.clear()  # type: ignore[attr-defined]
        self.close()
        asyncio.set_event_loop(None)

    def cancel_at_once(self, task: "asyncio.Task[Any]") -> None:
        """To its end: whatever it waits for on its way out is cancelled, too. What it sets on the way nobody else sees."""
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        coroutine: Any = task.get_coro()
        context = contextvars.copy_context()
        running = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            for _ in range(AWAITED_AT_THE_END_MAX):
                context.run(coroutine.throw, asyncio.CancelledError())
        except BaseException:  # noqa: BLE001 - its end, whichever
            return
        finally:
            asyncio._set_running_loop(running)
        raise AssertionError(f"{coroutine} does not end when it is cancelled")

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        if len(ready) > 1:
            shuffled = list(ready)
            self._rng.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        if self.steps_left is not None:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise Crash
        self.now_s += 0.0005
        super()._run_once()  # type: ignore[misc]


class Crash(Exception):
    """The process ended between two steps."""
