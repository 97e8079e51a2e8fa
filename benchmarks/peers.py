"""`python -m benchmarks.peers`: Bucketlog and MinIO side by side, the same load on the same disk, as ratios.

In each round each case goes to one and then to the other, and the next round begins with the other: a machine whose speed
drifts slows both alike. MinIO is `minio`, or what BUCKETLOG_BENCH_MINIO names, or what `go install` builds here.
`--record` writes the table to benchmarks/RESULTS-PEERS.md.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cases import CASES, Case, prepare
from benchmarks.measure import PROCESSES, measure
from benchmarks.requests import Target
from tests.server import ACCESS_KEY, SECRET_KEY, Server, free_port

RESULTS = Path(__file__).with_name("RESULTS-PEERS.md")
GOALS = {
    "PUT 4 KiB": 2.0,
    "GET 4 KiB": 2.0,
    "HEAD 1 KiB": 1.5,
    "LIST 1,000 keys": 1.5,
    "PUT 1 MiB": 1.2,
    "GET 1 MiB": 1.35,
    "PUT 64 MiB in parts of 16": 1.0,
}
START_S = 30.0
MINIO = "github.com/minio/minio@latest"


def minio_command() -> str:
    """Builds it where there is none: some minutes."""
    if found := os.environ.get("BUCKETLOG_BENCH_MINIO") or shutil.which("minio"):
        return found
    go = subprocess.run(["go", "env", "GOPATH"], check=True, capture_output=True, text=True)
    command = Path(go.stdout.strip()) / "bin" / "minio"
    if not command.exists():
        print(f"go install {MINIO}", file=sys.stderr)
        subprocess.run(["go", "install", MINIO], check=True)
    return str(command)


@contextmanager
def minio(command: str, folder: Path) -> Iterator[Target]:
    target = Target("127.0.0.1", free_port(), ACCESS_KEY, SECRET_KEY)
    env = {**os.environ, "MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_UPDATE": "off"}
    process = subprocess.Popen(
        [command, "server", "--quiet", "--address", f"{target.host}:{target.port}", str(folder)],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_live(f"http://{target.host}:{target.port}/minio/health/live", process)
        yield target
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_live(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MinIO did not start; exit code {process.poll()}") from None
            time.sleep(0.1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--only", default="")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    cases = [case for case in CASES if options.only in case.name]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        server = Server(Path(folder) / "bucketlog").start()
        with minio(minio_command(), Path(folder) / "minio") as theirs:
            ours = Target("127.0.0.1", server.port, ACCESS_KEY, SECRET_KEY)
            sides = [target._replace(is_plain=options.plain) for target in (ours, theirs)]
            for side in sides:
                prepare(side)
            lines = list(_rows(sides, cases, options.rounds, options.seconds))
        server.stop()
    if options.record:
        RESULTS.write_text(_report(lines, options.rounds, options.seconds))


def _rows(sides: list[Target], cases: list[Case], rounds: int, seconds: float) -> Iterator[str]:
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    for number in range(rounds):
        for case in cases:
            for at in (0, 1) if number % 2 == 0 else (1, 0):
                rates[case.name, at].append(measure([sides[at]], case, seconds).rate)
    for case in cases:
        ours, theirs = rates[case.name, 0], rates[case.name, 1]
        ratios = sorted(mine / other for mine, other in zip(ours, theirs, strict=True))
        row = (
            f"| {case.name} | {case.connections} | {statistics.median(ours):,.0f}/s | {statistics.median(theirs):,.0f}/s | "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}) | {GOALS.get(case.name, '')} |"
        )
        print(row, flush=True)
        yield row


def _report(rows: list[str], rounds: int, seconds: float) -> str:
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    head = "| what | connections | Bucketlog | MinIO | ratio | goal |\n|---|---|---|---|---|---|\n"
    return (
        f"# Results beside MinIO\n\n{time.strftime('%Y-%m-%d')}; {machine}; `make bench-peers` ({rounds} rounds of "
        f"{seconds:g} s a row and store, medians), the load generator's {PROCESSES} processes on the same cores, the same "
        "disk. The load is that of SDKs over HTTP: bodies in signed chunks of 64 KiB with a checksum behind them. Both sync"
        " what they acknowledge.\n\n" + head + "\n".join(rows) + "\n"
    )


if __name__ == "__main__":
    main()
