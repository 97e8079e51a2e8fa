"""The index of many small records is made anew within a bound of memory."""

import os
import random
import subprocess
import sys
from pathlib import Path

from datanode import layout
from tests.datanode.rebuild import SIZE
from tests.datanode.stores import blob

RECORDS = int(os.environ.get("BUCKETLOG_TEST_RECORDS", "100000"))  # the full form: 1000000
BATCH = 1_000
FEW = 1_000


def peak_mib(folder: Path, records: int) -> int:
    """Of a start that finds so many in one volume."""
    rng = random.Random(1)
    (folder / "volumes").mkdir(parents=True)
    with (folder / "volumes" / "00000000.vol").open("wb") as file:
        for first in range(0, records, BATCH):
            numbers = range(first, first + BATCH)
            file.write(b"".join(layout.record(0, blob(number), 3, rng.randbytes(SIZE)) for number in numbers))
    command = [sys.executable, "-m", "tests.datanode.rebuild", str(records), str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_an_index_is_made_anew_in_bounded_memory(tmp_path: Path) -> None:
    peak = peak_mib(tmp_path / "many", RECORDS)
    print(f"{RECORDS} records: {peak} MiB")
    assert peak < 300
    assert peak - peak_mib(tmp_path / "few", FEW) < 25 + RECORDS // 20_000  # once 38 MiB of 100,000
