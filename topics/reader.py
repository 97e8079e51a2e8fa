"""The reader's rule: which records of an `events` partition count. Used by views, subscribers and mirrors alike.

A claim counts if its epoch is higher than every one before. A decision counts if its epoch is that of the latest claim
and its sequence is the next one. Everything else is void: a zombie's late append, a duplicate, a batch that landed after
one that failed. The rule needs nothing but the records in their order.
"""

import msgspec

from topics.events import Claimed, Decision


class ReaderState(msgspec.Struct, frozen=True):
    epoch: int = 0
    sequence: int = 0

    def accept(self, decision: Decision) -> "ReaderState | None":
        """The state behind `decision` if it counts, else None."""
        if isinstance(decision.event, Claimed):
            counts = decision.epoch > self.epoch
        else:
            counts = decision.epoch == self.epoch and decision.sequence == self.sequence + 1
        return state_behind(decision) if counts else None


def state_behind(decision: Decision) -> ReaderState:
    """Of a decision that counts."""
    return ReaderState(decision.epoch, 0 if isinstance(decision.event, Claimed) else decision.sequence)
