"""The reader's rule, as a table: which records of a partition count."""

import pytest

from topics.events import BucketDeleted, Claimed, Decision
from topics.reader import ReaderState


def claim(epoch: int) -> Decision:
    return Decision(epoch, 0, -1, 0, "", "", "", Claimed("owner"))


def decision(epoch: int, sequence: int) -> Decision:
    return Decision(epoch, sequence, 0, 0, "", "", "", BucketDeleted("b"))


@pytest.mark.parametrize(
    ("records", "counted"),
    [
        ([claim(1), decision(1, 1), decision(1, 2)], [0, 1, 2]),
        ([decision(1, 1), claim(1)], [1]),  # nothing counts before a claim
        ([claim(1), decision(1, 1), decision(1, 1), decision(1, 2)], [0, 1, 3]),  # a duplicate
        ([claim(1), decision(1, 2), decision(1, 1)], [0, 2]),  # a batch that landed after one that failed
        ([claim(1), claim(2), decision(1, 1), decision(2, 1)], [0, 1, 3]),  # a zombie
        ([claim(2), claim(1), decision(1, 1), decision(2, 1)], [0, 3]),  # a zombie's late claim
        ([claim(1), claim(1), decision(1, 1)], [0, 2]),  # a claim twice
        ([claim(1), decision(1, 1), claim(2), decision(2, 2), decision(2, 1)], [0, 1, 2, 4]),
    ],
)
def test_which_records_count(records: list[Decision], counted: list[int]) -> None:
    state, found = ReaderState(), []
    for place, record in enumerate(records):
        following = state.accept(record)
        if following is not None:
            state = following
            found.append(place)
    assert found == counted
