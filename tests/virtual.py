"""Tests in virtual time: to wait costs nothing, and what would wait for ever fails at once."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.simulation.loop import SimulatedLoop

T = TypeVar("T")
START_S = 1_800_000_000.0


def run(case: Coroutine[Any, Any, T], seed: int = 0) -> T:
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(random.Random(seed), START_S)) as runner:
        return runner.run(case)


def now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)
