"""Which seeds a run takes: new ones with each commit, and the same ones again for the same commit.

So every run of CI covers other ground, and a failure repeats. `BUCKETLOG_TEST_FIRST_SEED` chooses the first by hand.
"""

import os
import subprocess
from pathlib import Path

COMMIT_DIGITS = 8  # of its name: some four billion first seeds
LINE_BITS = 10  # below each of them as many seeds as one run takes


def first_seed() -> int:
    """0 where there is neither a commit nor a wish."""
    if (chosen := os.environ.get("BUCKETLOG_TEST_FIRST_SEED")) is not None:
        return int(chosen)
    here = Path(__file__).parent
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return int(found.stdout[:COMMIT_DIGITS] or "0", 16) << LINE_BITS
