"""`python -m benchmarks.compare OTHER`: the CPU time of a request, of this tree's `bucketlog serve` against another's.

OTHER is the installed command of another tree (…/.venv/bin/bucketlog). Both are measured in turn, round by round, so that a
machine whose speed drifts slows both alike; the ratio of each pair counts. CPU time is user and system time of the server
process, all its threads, while it answers; the load generator's is not in it.
"""

import argparse
import os
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import CASES, Case, prepare
from benchmarks.load import Target, run
from tests.server import ACCESS_KEY, BUCKETLOG, SECRET_KEY, Server

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system time of a process since its start (proc(5), /proc/PID/stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def measure(command: str, cases: Sequence[Case], seconds: float) -> dict[str, float]:
    """Microseconds of CPU a request, by case."""
    found = {}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        server = Server(Path(folder) / "data", command=command).start()
        assert server.process is not None
        target = Target("127.0.0.1", server.port, ACCESS_KEY, SECRET_KEY)
        prepare(target)
        for case in cases:
            before = cpu_s(server.process.pid)
            outcome = run(target, case.connections, seconds, case.calls(0))
            found[case.name] = (cpu_s(server.process.pid) - before) / len(outcome.latencies_s) * 1e6
        server.stop()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("other")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    pairs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number in range(options.rounds):
        order = (BUCKETLOG, options.other) if number % 2 else (options.other, BUCKETLOG)
        found = {command: measure(command, cases, options.seconds) for command in order}
        for case in cases:
            pairs[case.name].append((found[BUCKETLOG][case.name], found[options.other][case.name]))
    print("| what | here, µs of CPU a request | there | ratio: median, min, max |\n|---|---|---|---|")
    for name, each in pairs.items():
        ratios = sorted(here / there for here, there in each)
        here, there = (statistics.median(side) for side in zip(*each, strict=True))
        print(
            f"| {name} | {here:,.0f} | {there:,.0f} | {statistics.median(ratios):.3f}, {ratios[0]:.3f}, {ratios[-1]:.3f} |"
        )


if __name__ == "__main__":
    main()
