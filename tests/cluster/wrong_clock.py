"""`bucketlog` on a machine whose clock is an hour behind."""

import time

OFF_S = -3600
_right_ns, _right = time.time_ns, time.time
time.time_ns = lambda: _right_ns() + OFF_S * 1_000_000_000
time.time = lambda: _right() + OFF_S

if __name__ == "__main__":
    from bucketlog.cli import main

    main()
