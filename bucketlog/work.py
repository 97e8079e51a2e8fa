"""What runs for as long as a role does: tasks that must never end, and what is told if one does."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from datanode.member import NodeReplaced
from processors.replica import ViewMismatch
from topics.log import UnknownRecord

LASTING = (ViewMismatch, UnknownRecord, NodeReplaced)  # a restart would find the same again
log_ = logging.getLogger(__name__)


class Work:
    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_report)
        self._tasks.append(task)
        return task

    def ended(self) -> list[str]:
        """What does not run any more: the role cannot serve as it should."""
        return [f"{task.get_name()} stopped" for task in self._tasks if task.done()]

    def needs_restart(self) -> list[str]:
        """The same, without what a restart would not mend."""
        return [f"{task.get_name()} stopped" for task in self._tasks if task.done() and may_be_mended(_error(task))]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def may_be_mended(error: BaseException | None) -> bool:
    """By a restart."""
    return not isinstance(error, LASTING)


def _error(task: "asyncio.Task[None]") -> BaseException | None:
    return None if task.cancelled() else task.exception()


def _report(task: "asyncio.Task[None]") -> None:
    if (error := _error(task)) is not None:
        advice = "; restart bucketlog, and report it if it comes again" if may_be_mended(error) else ""
        log_.critical("%s stopped: %s%s", task.get_name(), error, advice, exc_info=error)
