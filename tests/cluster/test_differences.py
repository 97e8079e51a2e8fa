"""What is told of copies that are not as they must be."""

import pytest

from tests.cluster.volumes import Found, differences

TARGETS = [["a", "b"]]  # of group 0
WANTED = {0: {b"1", b"2"}}


def test_copies_as_they_must_be() -> None:
    assert (
        differences({name: Found({0: {b"1", b"2"}}, set()) for name in "ab"} | {"c": Found({}, set())}, TARGETS, WANTED)
        == []
    )


@pytest.mark.parametrize(
    ("a", "b", "c", "told"),
    [
        ({b"1"}, {b"1", b"2"}, set(), ["group 0: a lacks 1 of 2, has 0 more"]),
        ({b"1"}, {b"1"}, set(), [f"group 0: {name} lacks 1 of 2, has 0 more" for name in "ab"]),  # lost everywhere
        (
            {b"1", b"2", b"3"},
            {b"1", b"2", b"3"},
            set(),
            [f"group 0: {name} lacks 0 of 2, has 1 more" for name in "ab"],
        ),
        ({b"1", b"2"}, {b"1", b"2"}, {b"1"}, ["group 0: c still has blobs"]),
    ],
)
def test_copies_that_are_not(a: set[bytes], b: set[bytes], c: set[bytes], told: list[str]) -> None:
    found = {name: Found({0: blobs}, set()) for name, blobs in (("a", a), ("b", b), ("c", c))}
    assert differences(found, TARGETS, WANTED) == told


def test_damage_is_told() -> None:
    found = {"a": Found({0: {b"1", b"2"}}, {b"1"}), "b": Found({0: {b"1", b"2"}}, set())}
    assert differences(found, TARGETS, WANTED) == ["a: 1 blobs are damaged"]
