"""The clocks of this machine."""

import time


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


def boot_s() -> float:
    """Goes on while the machine sleeps, and is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
