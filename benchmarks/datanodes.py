"""`python -m benchmarks.datanodes`: a cluster with 1, 2 and 4 data nodes, all roles and the broker on this machine; and how
fast a node that was emptied is full again.

`--record` writes the table to benchmarks/RESULTS-DATANODES.md.
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks.bench import report
from benchmarks.cases import KIB, MIB, Case, prepare, puts, reads
from benchmarks.load import calls, run
from benchmarks.measure import measure
from benchmarks.requests import Call, Target
from tests.cluster.state import wait_until_whole
from tests.kafka.broker import any_broker
from tests.kafka.cluster import Cluster
from tests.server import ACCESS_KEY, SECRET_KEY

RESULTS = Path(__file__).with_name("RESULTS-DATANODES.md")
NODES = (1, 2, 4)
WHOLE_S = 180.0
REFILL_OBJECTS = 1_500  # of 1 MiB
CASES = [
    Case("PUT 4 KiB", 16, 4 * KIB, puts(4 * KIB)),
    Case("GET 4 KiB", 16, 4 * KIB, reads("GET", 4 * KIB)),
    Case("PUT 1 MiB", 8, MIB, puts(MIB)),
    Case("GET 1 MiB", 8, MIB, reads("GET", MIB)),
]


def refill(cluster: Cluster, target: Target) -> str:
    """Objects of 1 MiB; then one of four data nodes loses its folder. From its first readiness until it has all again."""
    body, written = bytes(MIB), 0

    def next_call() -> Call:
        nonlocal written
        written += 1
        return Call("PUT", f"/bench/refill/{written}", body=body)

    while written < REFILL_OBJECTS:
        run(target, 8, 1, calls(next_call))
    wait_until_whole(cluster, WHOLE_S)
    node = cluster.datanodes[0]
    held = _bytes(node.data)
    node.kill()
    shutil.rmtree(node.data)
    node.start()
    started = time.monotonic()
    while not node.is_ready():
        time.sleep(0.05)
    joined_s = time.monotonic() - started
    took_s = time.monotonic() - started - joined_s + wait_until_whole(cluster, WHOLE_S)
    rate = held / MIB / took_s
    return (
        f"| a wiped node of 4 is full again | | {held / MIB:,.0f} MiB in {took_s:.1f} s, {rate:,.0f} MiB/s | | | 100 MB/s |"
    )


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.glob("volumes/*.vol"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    rows = []
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd()) as folder,
        any_broker(Path(folder) / "kafka", is_brief=False) as bootstrap,
    ):
        for nodes in NODES:
            with Cluster(Path(folder) / f"of{nodes}", bootstrap, datanodes=nodes) as cluster:
                wait_until_whole(cluster, WHOLE_S)
                targets = [Target("127.0.0.1", each.port, ACCESS_KEY, SECRET_KEY) for each in cluster.gateways]
                prepare(targets[0])
                for case in CASES:
                    named = case._replace(name=f"{case.name}, {nodes} data nodes, {min(3, nodes)} copies")
                    rows.append(measure(targets, named, options.seconds).row())
                    print(rows[-1], flush=True)
                if nodes == NODES[-1]:
                    rows.append(refill(cluster, targets[0]))
                    print(rows[-1], flush=True)
    if options.record:
        more = " Two gateways, two processors, the data nodes and one broker share the cores."
        RESULTS.write_text(report("make bench-datanodes", rows, options.seconds, more))


if __name__ == "__main__":
    main()
