"""`python -m tests.datanode.rebuild RECORDS FOLDER`: a start that makes the index of so many records of 1 KiB anew, and the
peak of its memory in MiB. In a process of its own; by VmHWM, for `getrusage` counts the parent too.
"""

import sys
from pathlib import Path

from tests.datanode.stores import blob, opened

SIZE = 1 << 10
VOLUME_BYTES = 1 << 30


def main(records: int, folder: Path) -> None:
    with opened(folder, VOLUME_BYTES) as store:
        found = sum(1 for _ in store.index.entries())
        assert found == records, found
        assert all(store.has(0, blob(number)) for number in range(0, records, 997))
    (peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    print(int(peak.split()[1]) >> 10)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
