"""What requests came to, in plain numbers: counted on the request path, so that whoever wants metrics reads them here.

Everything rises from the start of the process. A request counts when its answer was handed over, under the name of its
operation in S3; under an empty name where it asks for none.
"""

from bisect import bisect_left
from collections import Counter

ACCESS = "bucketlog.access"  # the logger of a line for each request
GONE = 499  # of a request whose client broke off: there is nobody to answer (as nginx has it)
IS_GONE = "bucketlog.is_gone"  # in the ASGI scope's state: tells whether its connection has ended
BOUNDS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Durations:
    """How many requests took at most each of `BOUNDS_S`, and all others last."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class Tally:
    def __init__(self) -> None:
        self.answers = Counter[tuple[str, int]]()  # operation and status
        self.durations: dict[str, Durations] = {}
        self.received_bytes = 0  # of bodies
        self.sent_bytes = 0

    def add(self, operation: str, status: int, seconds: float, received: int, sent: int) -> None:
        self.answers[operation, status] += 1
        self.received_bytes += received
        self.sent_bytes += sent
        try:
            self.durations[operation].add(seconds)
        except KeyError:
            self.durations.setdefault(operation, Durations()).add(seconds)
