"""`make nightly`: the long forms of all tests, one after the other, each to its end even where one fails.

What ran, how long, what came of it and the command that repeats a failure are in build/nightly.md, written anew after each
step; what each step said is beside it. Exit code 1 where any failed. A skipped test is a failure here, too. It takes hours
and root; nothing else may run beside it, for outages are timed. Speed is not measured here, see `make bench`.
"""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.simulation.seeds import first_seed

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "nightly"
LINES_TOLD = 60  # of a failure
SEEDS = 5_000  # of each world


class Step(NamedTuple):
    name: str
    command: str  # as a shell runs it in the checkout's folder


class Ran(NamedTuple):
    step: Step
    seconds: float
    code: int
    said: Path


def steps(first: int) -> list[Step]:
    """`first` is the first seed, so that a command repeats what ran, on another commit too."""
    seed = f"BUCKETLOG_TEST_FIRST_SEED={first}"
    worlds = [
        Step(f"simulation-{world}", f".venv/bin/python -m tests.simulation {world} --first {first} --seeds {SEEDS}")
        for world in ("store", "cluster", "data", "whole")
    ]
    return [
        *worlds,
        Step("power-cuts", "make power-cuts CUTS=200"),
        Step("kills", "make kills KILLS=100"),
        Step("histories", "make histories OPERATIONS=200000"),
        Step("kafka", "BUCKETLOG_TEST_ROUNDS=10 make test-kafka"),
        Step("data-nodes", f"{seed} BUCKETLOG_TEST_NODE_CUTS=20 make test-cluster ROUNDS=10 FLIPS=200"),
        Step("rebuild", "BUCKETLOG_TEST_RECORDS=1000000 .venv/bin/pytest tests/datanode/test_rebuild.py"),
        Step("too-long-for-ci", ".venv/bin/pytest -m nightly"),
    ]


def run(steps: Sequence[Step], folder: Path, head: str) -> list[Ran]:
    """Leaves the report beside the folder of what the steps said: FOLDER.md."""
    folder.mkdir(parents=True, exist_ok=True)
    done: list[Ran] = []
    for step in steps:
        print(f"{step.name}: {step.command}", flush=True)
        said, started = folder / f"{step.name}.log", time.monotonic()
        with said.open("wb") as file:
            code = subprocess.run(step.command, shell=True, check=False, cwd=ROOT, stdout=file, stderr=file).returncode
        done.append(Ran(step, time.monotonic() - started, code, said))
        print(f"{step.name}: {_result(done[-1])} after {done[-1].seconds / 60:.1f} min", flush=True)
        folder.with_suffix(".md").write_text(report(done, steps[len(done) :], head))
    return done


def report(done: Sequence[Ran], left: Sequence[Step], head: str) -> str:
    """Markdown."""
    rows = [f"| {each.step.name} | {each.seconds / 60:.1f} | {_result(each)} | `{each.step.command}` |" for each in done]
    rows += [f"| {each.name} | | did not run yet | `{each.command}` |" for each in left]
    table = "\n".join(["| what | minutes | result | command |", "|---|---|---|---|", *rows])
    return "\n\n".join([f"# {head}", table, *(_told(each) for each in done if each.code)]) + "\n"


def _result(ran: Ran) -> str:
    return "**failed**" if ran.code else "passed"


def _told(ran: Ran) -> str:
    with ran.said.open(errors="replace") as lines:
        last = "".join(deque(lines, LINES_TOLD)).rstrip()
    return f"## {ran.step.name}\n\nRepeat it with `{ran.step.command}`. The last lines of {ran.said}:\n\n~~~\n{last}\n~~~"


def main() -> int:
    os.environ["BUCKETLOG_TEST_REQUIRED"] = "all"
    asked = subprocess.run(["git", "log", "-1", "--format=%h %s"], cwd=ROOT, check=False, capture_output=True, text=True)
    head = f"Nightly of {asked.stdout.strip() or 'no commit'}, begun {time.strftime('%Y-%m-%d %H:%M')}"
    done = run(steps(first_seed()), FOLDER, head)
    print(f"see {FOLDER.with_suffix('.md')}")
    return int(any(each.code for each in done))


if __name__ == "__main__":
    sys.exit(main())
