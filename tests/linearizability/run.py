"""A history of a real store in one process: the clients of `load` on hot keys, while the process is killed and paused.

With power cuts it runs on the disk of `tests.faults.power`, which loses at each kill what was not synced.
"""

import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.faults.power import cut
from tests.linearizability.latest import limit, next_of
from tests.linearizability.load import TIMEOUT_S, Load
from tests.linearizability.operations import Operation
from tests.server import Server

BETWEEN_S = (2.0, 6.0)  # faults
PAUSED_S = TIMEOUT_S + 1.0  # clients give up before it goes on
PAUSES = 0.2  # of faults
SERVED_S = 30.0
THINK_S = 0.03


class Run(NamedTuple):
    operations: list[Operation]
    wrong: list[str]  # what no fault excuses
    faults: Counter[str]
    summary: str


def record(folder: Path, operations: int, *, power_cuts: bool, seed: int) -> Run:
    """At least so many operations; the last fault is followed by answers, and by a read of each key."""
    rng, faults, deaths = random.Random(seed), Counter[str](), list[float]()
    server = Server(folder / "data", module="tests.faults.power" if power_cuts else "", stderr=folder / "log").start()
    load = Load([server.endpoint], THINK_S).start()
    try:
        while len(load.operations) < operations:
            time.sleep(rng.uniform(*BETWEEN_S))
            fault = "pause" if rng.random() < PAUSES else "power cut" if power_cuts else "kill"
            faults[fault] += 1
            _inflict(fault, server, rng, deaths)
        load.wait_until_served(SERVED_S)
        load.stop()
    finally:
        server.kill()
    deaths.append(time.monotonic())
    return Run(limit(load.operations, next_of(deaths)), load.wrong, faults, load.summary)


def _inflict(fault: str, server: Server, rng: random.Random, deaths: list[float]) -> None:
    if fault == "pause":
        assert server.process is not None
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(PAUSED_S)
        server.process.send_signal(signal.SIGCONT)
        return
    server.kill()
    deaths.append(time.monotonic())
    if fault == "power cut":
        cut(server.data, rng)
    server.start()
