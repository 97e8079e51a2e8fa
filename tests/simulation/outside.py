"""Nothing from outside gets into a world: no chance, no clock and no collector of this process; its seed alone decides.

What is left are sets: of objects that hash by their place in memory (tasks hash by their number, `loop.py`), and of text,
which hashes otherwise in each process: who goes through one, and whose order shows, sorts it. `test_alike.py` asks for it.
"""

import gc
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def nothing_from_outside(seed: int, now_s: Callable[[], float]) -> Iterator[None]:
    """`now_s`: the world's time, which all clocks show."""
    entropy = random.Random(f"entropy {seed}")

    def clock_s(*_: Any) -> float:
        return now_s()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "urandom", entropy.randbytes)  # of `uuid`
        patch.setattr(random, "_urandom", entropy.randbytes)  # of `secrets`
        for name in ("time", "monotonic", "perf_counter", "clock_gettime"):
            patch.setattr(time, name, clock_s)
        patch.setattr(time, "time_ns", lambda: int(now_s() * 1e9))
        with _uncollected():
            yield


@contextmanager
def _uncollected() -> Iterator[None]:
    """What ends coroutines and generators would come at any moment; so only what nobody refers to ends, and at once."""
    gc.collect()  # of the world before
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()
