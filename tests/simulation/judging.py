"""Drives `processors.judge` by the `Log` port, as Faust does by its agent and its timer."""

import asyncio
from collections.abc import Callable

from processors.judge import AT, Judge
from topics.heartbeats import EVERY_S
from topics.log import Log, LogError, OffsetTrimmed

AGAIN_S = 0.5


async def drive(log: Log, judge: Judge, is_assigned: Callable[[], bool]) -> None:
    """For ever."""
    ticking = asyncio.create_task(_tick(judge, is_assigned))
    try:
        while True:
            try:
                async for batch in log.follow(AT, await log.latest(AT)):
                    for record in batch:
                        await judge.take(record)
            except OffsetTrimmed:
                continue
            except LogError:
                await asyncio.sleep(AGAIN_S)
    finally:
        ticking.cancel()


async def _tick(judge: Judge, is_assigned: Callable[[], bool]) -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        if is_assigned():
            await judge.tick()
