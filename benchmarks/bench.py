"""`python -m benchmarks.bench`: the store's speed on this machine, the load generator beside it.

Prints a table of rates with p50 and p99; `--record` writes it to benchmarks/RESULTS.md with machine, date and command.
"""

import argparse
import itertools
import multiprocessing
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.load import Call, Outcome, Target, call_once, listing, run
from tests.server import ACCESS_KEY, SECRET_KEY, Server

BUCKET = "bench"
KIB, MIB = 1 << 10, 1 << 20
OBJECTS = 10_000  # that GET and LIST find
PROCESSES = 2
DISKS = (1, 3)  # data folders of `serve`
RESULTS = Path(__file__).with_name("RESULTS.md")


class Case(NamedTuple):
    name: str
    connections: int
    size: int  # bytes a request carries; 0 for LIST
    goal: str
    calls: Callable[[int], Callable[[], Call]]  # process number → what to call next


def puts(size: int) -> Callable[[int], Callable[[], Call]]:
    def calls(process: int) -> Callable[[], Call]:
        body, count = os.urandom(size), itertools.count()
        return lambda: Call("PUT", f"/{BUCKET}/put-{size}/{process}/{next(count)}", body=body)

    return calls


def gets(size: int, objects: int) -> Callable[[int], Callable[[], Call]]:
    def calls(process: int) -> Callable[[], Call]:
        rng = random.Random(process)
        return lambda: Call("GET", f"/{BUCKET}/get-{size}/{rng.randrange(objects):06}")

    return calls


def lists(process: int) -> Callable[[], Call]:
    rng = random.Random(process)
    return lambda: listing(BUCKET, f"get-{4 * KIB}/{rng.randrange(OBJECTS - 1001):06}")


CASES = [
    Case("PUT 4 KiB", 16, 4 * KIB, "2,500/s", puts(4 * KIB)),
    Case("GET 4 KiB", 16, 4 * KIB, "4,500/s", gets(4 * KIB, OBJECTS)),
    Case("LIST 1,000 keys", 16, 0, "60,000 keys/s", lists),
    Case("PUT 1 MiB", 8, MIB, "180 MiB/s", puts(MIB)),
    Case("GET 1 MiB", 8, MIB, "800 MiB/s", gets(MIB, 100)),
    Case("PUT 64 MiB", 2, 64 * MIB, "", puts(64 * MIB)),
]


def _work(
    target: Target, case: Case, process: int, connections: int, seconds: float, out: "multiprocessing.Queue[Outcome]"
) -> None:
    out.put(run(target, connections, seconds, case.calls(process)))


def measure(targets: Sequence[Target], case: Case, seconds: float) -> str:
    """A row of the table; connections are spread over the targets."""
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
    elapsed = max(each.ended_s for each in outcomes) - min(each.started_s for each in outcomes)
    rate = len(latencies) / elapsed
    keys = sum(each.keys for each in outcomes) / elapsed
    shown = f"{rate:,.0f}/s, {rate * case.size / MIB:,.0f} MiB/s" if case.size else f"{rate:,.0f}/s, {keys:,.0f} keys/s"
    p50, p99 = (latencies[int(len(latencies) * share)] * 1000 for share in (0.5, 0.99))
    return f"| {case.name} | {case.connections} | {shown} | {p50:.1f} | {p99:.1f} | {case.goal} |"


def prepare(target: Target) -> None:
    """What GET and LIST find."""
    call_once(target, Call("PUT", f"/{BUCKET}"))
    for size, objects in ((4 * KIB, OBJECTS), (MIB, 100)):
        count, body = itertools.count(), os.urandom(size)

        def next_call(
            count: "itertools.count[int]" = count, size: int = size, objects: int = objects, body: bytes = body
        ) -> Call:
            return Call("PUT", f"/{BUCKET}/get-{size}/{next(count) % objects:06}", body=body)

        done = 0
        while done < objects:
            done += len(run(target, 16, 1, next_call).latencies_s)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--only", default="")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    rows = [row for disks in DISKS for row in measure_store(cases, disks, options.seconds)]
    if options.record:
        more = " Several data folders are on one disk here, which writes all that each of them has."
        RESULTS.write_text(report("make bench", rows, options.seconds, more))


def measure_store(cases: Sequence[Case], disks: int, seconds: float) -> list[str]:
    """Rows of the table, of `serve` with so many data folders."""
    rows = []
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        server = Server(Path(folder) / "data")
        server.flags = [flag for number in range(1, disks) for flag in ("--data", f"{folder}/data{number}")]
        server.start()
        target = Target("127.0.0.1", server.port, ACCESS_KEY, SECRET_KEY)
        prepare(target)
        for case in cases:
            named = case if disks == 1 else case._replace(name=f"{case.name}, {disks} folders", goal="")
            rows.append(measure([target], named, seconds))
            print(rows[-1], flush=True)
        server.stop()
    return rows


def report(command: str, rows: list[str], seconds: float, more: str = "") -> str:
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    head = "| what | connections | rate | p50 ms | p99 ms | goal |\n|---|---|---|---|---|---|\n"
    return (
        f"# Results\n\n{time.strftime('%Y-%m-%d')}; {machine}; `{command}` ({seconds:g} s a row), the load generator's "
        f"{PROCESSES} processes on the same cores, every write synced before it is acknowledged.{more}\n\n"
        + head
        + "\n".join(rows)
        + "\n"
    )


if __name__ == "__main__":
    main()
