"""A bucket that comes and goes, and has one client: what may be answered, and what may be there."""

from typing import Literal

from tests.simulation.invariants import RefusalsAreTrue

Bucket = Literal["absent", "empty", "full"]
Change = Literal["create", "delete", "put", "remove"]
LEADS_TO: dict[tuple[Bucket, Change], Bucket | str] = {  # a state, or the code with which it is refused
    ("absent", "create"): "empty",
    ("empty", "create"): "BucketAlreadyOwnedByYou",
    ("full", "create"): "BucketAlreadyOwnedByYou",
    ("absent", "delete"): "NoSuchBucket",
    ("empty", "delete"): "absent",
    ("full", "delete"): "BucketNotEmpty",
    ("absent", "put"): "NoSuchBucket",
    ("empty", "put"): "full",
    ("full", "put"): "full",
    ("absent", "remove"): "NoSuchBucket",
    ("empty", "remove"): "empty",
    ("full", "remove"): "empty",
}
STATES: tuple[Bucket, ...] = ("absent", "empty", "full")


class ScratchBucket:
    """A bucket that comes and goes, with one object at most."""

    def __init__(self) -> None:
        self.possible: set[Bucket] = {"absent"}

    def asked(self, change: Change) -> set[Bucket]:
        """What was possible before; from here on the outcome is unknown."""
        before = self.possible
        self.possible = before | _done(before, change)
        return before

    def answered(self, name: str, before: set[Bucket], change: Change, code: str = "") -> None:
        """Done, or refused with a code."""
        refused = {state for state in before if LEADS_TO[state, change] == code}
        self.possible = refused if code else _done(before, change)
        if not self.possible:
            raise RefusalsAreTrue(f"{change} of {name} was {code or 'done'}, which was {' or '.join(sorted(before))}")


def _done(before: set[Bucket], change: Change) -> set[Bucket]:
    return {after for state in before for after in STATES if LEADS_TO[state, change] == after}
