"""What clients did to single keys, and what they were told of it."""

import math
from typing import Literal, NamedTuple

# create: a write that was done because there was nothing
# replace: a write that was done because `expected` was there
# refused: a condition that was not met, for something was there, and it was not `expected`
Kind = Literal["write", "create", "replace", "read", "refused"]
LOOKS = frozenset({"read", "refused"})  # kinds that change nothing


class Operation(NamedTuple):
    """One operation on one key. A page of a LIST is a read of each key of its range.

    Times are seconds of one clock. One operation comes before another if its end is less than the other's start.
    """

    client: int
    key: str
    kind: Kind
    value: str | None  # what was written, unlike all else that ever was, or read; None: nothing, so a write of it deletes
    started: float
    ended: float | None  # None: the outcome is unknown, and it takes effect later, once, or never
    latest: float = math.inf  # where the outcome is unknown, it takes no effect after this
    expected: str | None = None  # of `replace` and `refused`; of the latter None where nothing at all was expected

    @property
    def deadline(self) -> float:
        """It takes effect until then, if it does."""
        return self.latest if self.ended is None else self.ended
