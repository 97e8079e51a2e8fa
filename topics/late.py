"""Several are asked the same at once, and who is late is done without."""

import asyncio
import errno
from collections.abc import Collection, Coroutine, Mapping
from typing import Any, TypeVar

K = TypeVar("K")
T = TypeVar("T")


async def at_once(
    work: Mapping[K, Coroutine[Any, Any, T]], needed: Collection[K], late_s: float
) -> tuple[dict[K, T], dict[K, OSError]]:
    """What each gave, and where it failed; `late_s` behind the first of the `needed` that went well all others have failed.

    Before that nobody has, however long it takes; where none are needed the time begins at once. Any other error is raised.
    """
    tasks = {key: asyncio.ensure_future(each) for key, each in work.items()}
    pending = set(tasks.values())
    try:
        while pending and needed and not any(key in needed and _went_well(task) for key, task in tasks.items()):
            _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if pending:
            _, pending = await asyncio.wait(pending, timeout=late_s)
    finally:
        for task in pending:
            task.cancel()
    done: dict[K, T] = {}
    failed: dict[K, OSError] = {}
    for key, task in tasks.items():
        if task in pending:
            failed[key] = OSError(errno.ETIMEDOUT, f"no answer for {late_s:g} s")
        elif isinstance(error := task.exception(), OSError):
            failed[key] = error
        elif error is not None:
            raise error
        else:
            done[key] = task.result()
    return done, failed


def _went_well(task: "asyncio.Future[T]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
