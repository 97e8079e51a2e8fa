"""Porcupine, which is not ours, judges the same histories with the same verdicts."""

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.linearizability import history
from tests.linearizability.brute_force import is_linearizable
from tests.linearizability.checker import check
from tests.linearizability.generated import generate, with_a_stale_read
from tests.linearizability.operations import Operation
from tests.linearizability.small import small_history
from tests.required import missing

MODULE = Path(__file__).with_name("porcupine")
GO = shutil.which("go", path=f"{os.environ.get('PATH', '')}:/usr/local/go/bin")  # where its own installer puts it
SMALL = int(os.environ.get("BUCKETLOG_TEST_HISTORIES", "1500"))
AT_ONCE = 500  # files of one command


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of `MODULE`."""
    if GO is None:
        missing("go", "needs Go 1.19 or later: https://go.dev/doc/install")
    fetched = subprocess.run([GO, "mod", "download"], cwd=MODULE, check=False, capture_output=True, text=True)
    if fetched.returncode:
        missing("go", f"needs Porcupine, which Go could not fetch: {fetched.stderr.strip()}")
    program = tmp_path_factory.mktemp("porcupine") / "judge"
    subprocess.run([GO, "build", "-o", str(program), "."], cwd=MODULE, check=True)
    return program


def verdicts(judge: Path, files: list[Path]) -> list[bool]:
    """Whether each is linearizable."""
    ran = subprocess.run([judge, *files], check=False, capture_output=True, text=True, timeout=300)
    lines = ran.stdout.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [str(file) for file in files], ran.stderr
    found = [line.endswith(": linearizable") for line in lines]
    assert all(good or ": NOT linearizable: " in line for good, line in zip(found, lines, strict=True))
    assert ran.returncode == (0 if all(found) else 1)
    return found


def saved(folder: Path, name: str, operations: list[Operation]) -> Path:
    history.save(folder / name, operations)
    return folder / name


@pytest.mark.parametrize("seed", range(2))
def test_a_planted_stale_read_is_found_by_both(tmp_path: Path, judge: Path, seed: int) -> None:
    rng = random.Random(seed)
    operations = generate(rng, operations=10_000, keys=50, clients=8)
    good = saved(tmp_path, "good", operations)
    planted, key = with_a_stale_read(rng, operations)
    bad = saved(tmp_path, "planted", planted)
    assert check(history.load(good)) is None
    told = check(history.load(bad))
    assert told is not None
    assert told.startswith(f"{key}: ")
    assert verdicts(judge, [good, bad]) == [True, False]


def test_small_histories_are_judged_alike_by_all_three(tmp_path: Path, judge: Path) -> None:
    rng = random.Random(os.environ.get("BUCKETLOG_TEST_FIRST_SEED", "1"))
    for _ in range(0, SMALL, AT_ONCE):
        histories = [small_history(rng) for _ in range(AT_ONCE)]
        files = [saved(tmp_path, f"{number}", each) for number, each in enumerate(histories)]
        expected = [is_linearizable(each) for each in histories]
        assert AT_ONCE / 10 < sum(expected) < AT_ONCE * 9 / 10
        assert [check(history.load(file)) is None for file in files] == expected
        assert verdicts(judge, files) == expected


def test_what_it_cannot_read_it_does_not_pass(tmp_path: Path, judge: Path) -> None:
    file = saved(tmp_path, "it", [Operation(0, "k", "write", "a", 0, 1)])
    for line in ("{", '{"client":0,"key":"k","kind":"guess","value":null,"started_ns":0,"ended_ns":1}'):
        (tmp_path / "other").write_text(file.read_text() + line + "\n")
        ran = subprocess.run([judge, tmp_path / "other"], check=False, capture_output=True, text=True)
        assert ran.returncode == 2
        assert "line 2" in ran.stderr
