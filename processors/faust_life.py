"""Keeps the Faust app alive that judges data nodes (`processors.faust_app`).

Faust ends, or stands still, with some failures of a broker. So an app is given up when it has crashed, and when the log has
taken ticks of it that it does not read; then another is made, which goes on from the table's changelog. It runs only while
the control partition is followed here. Its end is bounded: what hangs is cut off.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from processors.faust_app import JudgeApp
from topics.heartbeats import EVERY_S

START_S = 60.0  # a broker may be slow; joining the group takes a former member's session; a long changelog is read
STOP_S = 0.8  # for a process that is to end
GIVE_UP_S = 20.0  # for an app that another follows: without a broker Faust waits for its requests' time (15 s)
AGAIN_S = 1.0
UNREAD_TICKS = 20  # in a row: longer than a rebalance takes
log_ = logging.getLogger(__name__)


class FaustLife:
    def __init__(self, make_app: Callable[[], JudgeApp], is_followed: Callable[[], bool]) -> None:
        """`is_followed`: whether this process has the control partition's state."""
        self._make_app = make_app
        self._is_followed = is_followed
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self.lives = 0
        self._app: JudgeApp | None = None

    @property
    def is_judging(self) -> bool:
        """Whether it is this process of all."""
        return self._app is not None and self._app.started and self._app.is_assigned

    def behind(self) -> dict[str, dict[int, int]]:
        """Node → group → blobs that it is to have and does not, as it said last."""
        return self._app.judge.behind() if self._app is not None else {}

    def clocks_off_s(self) -> dict[str, float]:
        """Node → by how many seconds its clock is ahead of the log's, or behind."""
        return self._app.judge.clocks_off_s() if self._app is not None else {}

    async def run(self) -> None:
        """Until `stop`."""
        try:
            while not self._stopping.is_set():
                if self._is_followed():
                    await self._live()
                await self._pause(AGAIN_S)
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """Leaves the group, so that another processor judges at once."""
        self._stopping.set()
        await self._stopped.wait()

    async def _live(self) -> None:
        app = self._app = self._make_app()
        self.lives += 1
        try:
            starting = asyncio.create_task(app.start())
            why = await self._watch(app, starting)
            if why:
                log_.warning("data nodes cannot be judged now and will be again: %s", why)
        finally:
            self._app = None
            await self._end(app, starting)

    async def _watch(self, app: JudgeApp, starting: "asyncio.Task[None]") -> str:
        """Why the app is given up; empty where it is to stop."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_S
        while not self._stopping.is_set():
            if app.crashed or (starting.done() and starting.exception() is not None):
                return f"{app.crash_reason or starting.exception()!r}"
            if not starting.done() and loop.time() > deadline:
                return f"Faust did not start in {START_S:.0f} s"
            if app.unread_ticks > UNREAD_TICKS:
                return "Faust does not read what the log has"
            if not self._is_followed():
                return "the control partition is not followed here"
            await self._pause(EVERY_S)
        return ""

    async def _pause(self, for_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), for_s)

    async def _end(self, app: JudgeApp, starting: "asyncio.Task[None]") -> None:
        stopping = asyncio.create_task(app.stop())
        leaving = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopping, leaving], timeout=GIVE_UP_S, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            await asyncio.wait([stopping], timeout=STOP_S)
        if not stopping.done():
            app.cut_off()
        for task in (starting, stopping, leaving):
            task.cancel()
        for found in await asyncio.gather(starting, stopping, return_exceptions=True):
            log_.debug("Faust ended with %r", found)
