"""`python -m benchmarks.bench`: the store's speed on this machine, the load generator beside it.

Prints a table of rates with p50 and p99; `--record` writes it to benchmarks/RESULTS.md with machine, date and command.
The load is that of SDKs over HTTP, signed chunks with a checksum behind them; `--plain`: unsigned bodies and few headers.
"""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.cases import CASES, Case, prepare
from benchmarks.measure import PROCESSES, measure
from benchmarks.requests import Target
from tests.server import ACCESS_KEY, SECRET_KEY, Server

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--only", default="")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    rows = []
    for disks, is_plain in [(1, True)] if options.plain else [(1, False), (1, True), (3, False)]:
        for row in measure_store(cases, disks, options.seconds, is_plain=is_plain):
            print(row, flush=True)
            rows.append(row)
    if options.record:
        more = (
            ' The load is that of SDKs, bodies in signed chunks with a checksum behind them; "plain": unsigned bodies and '
            "few headers. Several data folders are on one disk here, which writes all that each of them has."
        )
        RESULTS.write_text(report("make bench", rows, options.seconds, more))


def measure_store(cases: Sequence[Case], disks: int, seconds: float, *, is_plain: bool) -> Iterator[str]:
    """Rows of the table, of `serve` with so many data folders."""
    kind = (", plain" if is_plain else "") + (f", {disks} folders" if disks > 1 else "")
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        server = Server(Path(folder) / "data")
        server.flags = [flag for number in range(1, disks) for flag in ("--data", f"{folder}/data{number}")]
        server.start()
        target = Target("127.0.0.1", server.port, ACCESS_KEY, SECRET_KEY, is_plain)
        prepare(target)
        for case in cases:
            yield measure([target], case._replace(name=case.name + kind, goal="" if kind else case.goal), seconds).row()
        server.stop()


def report(command: str, rows: Sequence[str], seconds: float, more: str = "") -> str:
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
