"""One case, measured: by processes of their own, beside the server, whose connections are spread over the targets."""

import multiprocessing
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.cases import MIB, Case
from benchmarks.load import Outcome, run
from benchmarks.requests import Target

PROCESSES = 2


class Measured(NamedTuple):
    case: Case
    rate: float  # pieces of work a second
    keys_rate: float  # that were listed
    latencies_s: list[float]  # sorted

    def row(self) -> str:
        """Of a table."""
        case, rate = self.case, f"{self.rate:,.0f}/s"
        volume = f"{self.rate * case.size / MIB:,.0f} MiB/s" if case.size else f"{self.keys_rate:,.0f} keys/s"
        p50, p99 = (self.latencies_s[int(len(self.latencies_s) * share)] * 1000 for share in (0.5, 0.99))
        return f"| {case.name} | {case.connections} | {rate}, {volume} | {p50:.1f} | {p99:.1f} | {case.goal} |"


def measure(targets: Sequence[Target], case: Case, seconds: float) -> Measured:
    processes = min(PROCESSES, case.connections)
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[Outcome] = context.Queue()
    workers = [
        context.Process(
            target=_work,
            args=(targets[number % len(targets)], case, number, case.connections // processes, seconds, results),
        )
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    outcomes = [results.get(timeout=seconds * 4 + 60) for _ in workers]
    for worker in workers:
        worker.join()
    latencies = sorted(each for outcome in outcomes for each in outcome.latencies_s)
    elapsed_s = max(each.ended_s for each in outcomes) - min(each.started_s for each in outcomes)
    return Measured(case, len(latencies) / elapsed_s, sum(each.keys for each in outcomes) / elapsed_s, latencies)


def _work(
    target: Target, case: Case, process: int, connections: int, seconds: float, out: "multiprocessing.Queue[Outcome]"
) -> None:
    out.put(run(target, connections, seconds, case.work(process)))
