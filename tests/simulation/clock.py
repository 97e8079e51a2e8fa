"""A machine's clock that somebody sets, an hour or a year ahead or back, and right again.

When and how is drawn apart from all else: a seed runs alike, whatever its clock says.
"""

import random

OFF_S = (0, 3_600, -3_600, 365 * 86_400)
EVERY_S = 0.3  # of virtual time, on average; the life of a process takes some of these


class SetClock:
    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"clock {seed}")
        self._off_s = 0
        self._next_s: float | None = None
        self.steps = 0

    def __str__(self) -> str:
        return f"with the clock {self._off_s:+} s off, set {self.steps} times"

    def now_ms(self, right_s: float) -> int:
        """What it shows; right times never go back."""
        self._next_s = self._next_s or right_s + self._rng.expovariate(1 / EVERY_S)
        while right_s >= self._next_s:
            self._off_s = self._rng.choice(OFF_S)
            self._next_s += self._rng.expovariate(1 / EVERY_S)
            self.steps += 1
        return int((right_s + self._off_s) * 1000)
