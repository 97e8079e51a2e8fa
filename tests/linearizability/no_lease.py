"""`bucketlog` with owners that never doubt their lease: a build that must fail the test of stale reads.

python -m tests.linearizability.no_lease processor …
"""

from bucketlog.cli import main
from processors.leases import Leases


def is_held(self: Leases, partition: int) -> bool:
    return True


if __name__ == "__main__":
    Leases.is_held = is_held  # type: ignore[method-assign]
    main()
