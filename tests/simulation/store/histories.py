"""What clients asked and were told, and what may be seen for it.

Each key has one client that changes it, so what may be seen is known: what was acknowledged last,
or what an operation led to whose outcome is unknown. A value is a number in the payload.
"""

from collections import Counter
from collections.abc import Iterable

from tests.simulation.invariants import NoAcknowledgedWriteIsLost, ReadsAreLinearizable, RefusalsAreTrue
from tests.simulation.scratch import ScratchBucket

Value = int | None  # None: no such key
Key = tuple[str, str]  # bucket, name


class KeyHistory:
    """What a read of one key may return: the last acknowledged value, or one of an unknown or running write."""

    def __init__(self) -> None:
        self.acknowledged: Value = None
        self.possible: set[Value] = set()
        self.refused: set[Value] = set()

    def allowed(self) -> set[Value]:
        return {self.acknowledged, *self.possible}

    def done(self, value: Value) -> None:
        self.acknowledged = value
        self.possible.clear()

    def was_refused(self, values: Iterable[int]) -> None:
        self.possible.difference_update(values)
        self.refused.update(values)

    def check_last(self, key: Key, found: Value) -> None:
        """By a read while nobody writes."""
        self._check_refused(key, found)
        if found not in self.allowed():
            raise NoAcknowledgedWriteIsLost(f"{key} is {found}, not one of {self.allowed()}")

    def check_read(self, key: Key, found: Value, at_start: set[Value]) -> None:
        self._check_refused(key, found)
        if found not in at_start | self.allowed():
            raise ReadsAreLinearizable(f"{key} is {found}, not one of {at_start}")

    def _check_refused(self, key: Key, found: Value) -> None:
        if found in self.refused:
            raise RefusalsAreTrue(f"{key} is {found}, which was refused")


class Histories:
    def __init__(self) -> None:
        self.keys: dict[Key, KeyHistory] = {}
        self.made: set[str] = set()  # buckets that stay
        self.scratch: dict[str, ScratchBucket] = {}
        self.full_since_s: float | None = None  # all disks are below their reserve
        self.acknowledged: set[str] = set()  # requests that must have an event
        self.reached: Counter[str] = Counter()
        self.commands = 0
        self._last_value = 0
        self._last_request = 0

    def key(self, key: Key) -> KeyHistory:
        return self.keys.setdefault(key, KeyHistory())

    def value(self) -> int:
        self._last_value += 1
        return self._last_value

    def request(self) -> str:
        self._last_request += 1
        return f"request-{self._last_request}"
