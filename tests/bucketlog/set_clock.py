"""`bucketlog serve` on a machine whose clock somebody sets: it is as many seconds off as the file `CLOCK` tells."""

import os
import sys
import time
from pathlib import Path

CLOCK = "BUCKETLOG_TEST_CLOCK"


def set_clock(path: Path) -> None:
    right_ns = time.time_ns

    def off_ns() -> int:
        return right_ns() + int(path.read_text()) * 1_000_000_000

    time.time_ns = off_ns
    time.time = lambda: off_ns() / 1e9


if __name__ == "__main__":
    set_clock(Path(os.environ[CLOCK]))
    sys.argv.insert(1, "serve")

    from bucketlog.cli import main

    main()
