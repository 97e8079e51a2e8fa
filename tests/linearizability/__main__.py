"""Histories of S3 operations: record one under faults, judge it, plant a stale read, write it as Jepsen does.

python -m tests.linearizability check FILE…         exit code 1 where any is not linearizable
python -m tests.linearizability run --out FILE      of a real store that is killed again and again
python -m tests.linearizability plant FILE --out FILE
python -m tests.linearizability edn FILE --out FILE
docs/LINEARIZABILITY.md tells of it, and tests/linearizability/porcupine judges the same files.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.linearizability import history, run
from tests.linearizability.checker import check
from tests.linearizability.generated import with_a_stale_read
from tests.linearizability.operations import Operation


def main() -> int:
    options = _arguments()
    match options.command:
        case "check":
            return _check(options.file)
        case "run":
            return _run(options)
        case "plant":
            planted, key = with_a_stale_read(random.Random(options.seed), history.load(options.file))
            history.save(options.out, planted)
            print(f"{options.out}: a read of {key} shows what was overwritten before it began")
        case "edn":
            options.out.write_text("".join(f"{line}\n" for line in history.edn(history.load(options.file))))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.linearizability", description="Histories of S3 operations.")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("check", help="judge histories")
    command.add_argument("file", type=Path, nargs="+")
    command = commands.add_parser("run", help="record a history of a real store that is killed again and again")
    command.add_argument("--out", type=Path, required=True)
    command.add_argument("--operations", type=int, default=100_000, help="at least; by default 100,000")
    command.add_argument("--power-cuts", action="store_true", help="each kill loses what was not synced")
    command.add_argument("--seed", type=int, default=1, help="of the faults; clients have their own")
    for name, what in (("plant", "a copy with a stale read"), ("edn", "a copy as Jepsen's tools read it")):
        command = commands.add_parser(name, help=what)
        command.add_argument("file", type=Path)
        command.add_argument("--out", type=Path, required=True)
        if name == "plant":
            command.add_argument("--seed", type=int, default=1, help="of the choice of the read")
    return parser.parse_args()


def _check(files: Sequence[Path]) -> int:
    is_bad = False
    for file in files:
        operations = history.load(file)
        told = check(operations)
        is_bad |= told is not None
        print(f"{file}: {_counted(operations)}: {'linearizable' if told is None else 'NOT linearizable'}")
        if told is not None:
            print(told)
    return int(is_bad)


def _run(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        done = run.record(Path(folder), options.operations, power_cuts=options.power_cuts, seed=options.seed)
    history.save(options.out, done.operations)
    print(done.summary)
    print("faults: " + ", ".join(f"{count} × {fault}" for fault, count in sorted(done.faults.items())))
    for each in done.wrong:
        print(f"wrong: {each}")
    return max(_check([options.out]), int(bool(done.wrong)))


def _counted(operations: Sequence[Operation]) -> str:
    unknown = [each for each in operations if each.ended is None]
    open_ended = sum(each.latest == float("inf") for each in unknown)
    kinds = ", ".join(
        f"{sum(each.kind == kind for each in operations)} {kind}"
        for kind in ("write", "create", "replace", "read", "refused")
    )
    return (
        f"{len(operations)} operations on {len({each.key for each in operations})} keys ({kinds}), "
        f"{len(unknown)} of unknown outcome, {open_ended} of these possible to the end"
    )


if __name__ == "__main__":
    sys.exit(main())
