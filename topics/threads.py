"""Threads that nobody has to wait for: of a disk, which may hang for ever in a call.

A process that ends waits for those of a `ThreadPoolExecutor`, and never would.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

END_S = 5.0  # that a call may need which does not hang
Work = tuple[Future[Any], Callable[[], Any]]
T = TypeVar("T")


class Threads(Executor):
    """Of one loop. At most `count`, begun when they are needed; what is more waits."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._works: SimpleQueue[Work | None] = SimpleQueue()
        self._unended = 0  # works, those that wait included
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._begun: dict[int, float] = {}  # thread → when it began what it does
        self._ended_s = 0.0  # when the last one did
        self._is_closed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        if self._is_closed:
            raise RuntimeError(f"the threads {self._name!r} are closed")
        future: Future[T] = Future()
        with self._lock:
            self._unended += 1
        self._works.put((future, partial(fn, *args, **kwargs)))
        if len(self._threads) < min(self._unended, self._count):  # else one might wait behind another that hangs
            self._threads.append(threading.Thread(target=self._run, name=self._name, daemon=True))
            self._threads[-1].start()
        return future

    @property
    def silent_s(self) -> float:
        """For how long something has run and nothing ended."""
        begun = list(self._begun.values())  # in one step: the threads change it
        return time.monotonic() - max(self._ended_s, min(begun)) if begun else 0.0

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Waits for `END_S` at most: what still runs then goes on to its end, which may be never."""
        self._is_closed = True
        while cancel_futures and not self._works.empty():
            if (work := self._works.get()) is not None:
                work[0].cancel()
        for _ in self._threads:
            self._works.put(None)
        end_s = time.monotonic() + END_S
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()) if wait else 0.0)

    def _run(self) -> None:
        while (work := self._works.get()) is not None:
            future, call = work
            if future.set_running_or_notify_cancel():
                self._begun[threading.get_ident()] = time.monotonic()
                try:
                    tell = partial(future.set_result, call())
                except BaseException as error:  # noqa: BLE001 - handed on to who awaits
                    tell = partial(future.set_exception, error)
                self._ended_s = time.monotonic()
                del self._begun[threading.get_ident()]
                tell()
                del tell
            del work, future, call  # else the last one is kept until the next comes
            with self._lock:
                self._unended -= 1
