"""`python -m benchmarks.compare OTHER`: the CPU time of a request, of this tree's `bucketlog serve` against another's.

OTHER is the installed command of another tree (…/.venv/bin/bucketlog). Both serve at once, and each case is sent to them in
short turns, so that a machine whose speed drifts slows both alike; the ratio of each round counts. CPU time is user and
system time of the server process, all its threads, while it answers; the load generator's is not in it.
"""

import argparse
import os
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.cases import CASES, Case, prepare
from benchmarks.load import run
from benchmarks.requests import Target
from tests.server import ACCESS_KEY, BUCKETLOG, SECRET_KEY, Server

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system time of a process since its start (proc(5), /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


class Side:
    """One of the two that are compared."""

    def __init__(self, command: str, folder: Path, *, is_plain: bool) -> None:
        self._server = Server(folder / "data", command=command).start()
        self._target = Target("127.0.0.1", self._server.port, ACCESS_KEY, SECRET_KEY, is_plain)
        prepare(self._target)

    def measure(self, case: Case, seconds: float) -> tuple[float, int]:
        """(seconds of CPU, requests)."""
        assert self._server.process is not None
        before = cpu_s(self._server.process.pid)
        outcome = run(self._target, case.connections, seconds, case.work(0))
        return cpu_s(self._server.process.pid) - before, len(outcome.latencies_s)

    def stop(self) -> None:
        self._server.stop()


def compare(here: Side, there: Side, case: Case, seconds: float) -> tuple[float, float]:
    """Microseconds of CPU a request. In turns of a second: here, there, there, here, …"""
    spent: dict[Side, list[float]] = {here: [0.0, 0], there: [0.0, 0]}
    for turn in range(2 * max(1, round(seconds))):
        side = here if turn % 4 in (0, 3) else there
        for at, measured in enumerate(side.measure(case, 1)):
            spent[side][at] += measured
    of_here, of_there = (cpu / requests * 1e6 for cpu, requests in spent.values())
    return of_here, of_there


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("other")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--only", default="")
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(options.rounds):  # each with processes of its own: where their memory lies counts for some percent
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
            commands = enumerate((BUCKETLOG, options.other))
            here, there = (Side(command, Path(folder) / str(at), is_plain=options.plain) for at, command in commands)
            for case in cases:
                pairs[case.name].append(compare(here, there, case, options.seconds))
            here.stop()
            there.stop()
    print("| what | here, µs of CPU a request | there | ratio: median, min, max |\n|---|---|---|---|")
    for name, each in pairs.items():
        ratios = sorted(ours / theirs for ours, theirs in each)
        ours, theirs = (statistics.median(side) for side in zip(*each, strict=True))
        print(
            f"| {name} | {ours:,.0f} | {theirs:,.0f} | {statistics.median(ratios):.3f}, {ratios[0]:.3f}, {ratios[-1]:.3f} |"
        )


if __name__ == "__main__":
    main()
