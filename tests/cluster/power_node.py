"""`bucketlog datanode` on a disk that forgets what was not synced, see `tests.faults.power`; `--skip-sync` forgets all."""

import sys
from pathlib import Path

from bucketlog import cli
from bucketlog.roles import datanode
from tests.faults.power import PowerDisk


def main() -> None:
    skips_sync = "--skip-sync" in sys.argv
    if skips_sync:
        sys.argv.remove("--skip-sync")

    def open_disk(folder: Path) -> PowerDisk:
        return PowerDisk(folder, skips_sync=skips_sync)

    vars(datanode)["OsDisk"] = open_disk
    cli.main()


if __name__ == "__main__":
    main()
