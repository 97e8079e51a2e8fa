"""Which disks have all of the log, by what their labels say: the cases as rows."""

import pytest

from topics.generation import Found, Generation, Label, Members, standing
from topics.log import LogError

NEW = Found("", None, has_log=False)
PLAIN = Found("", None, has_log=True)  # of a store on one folder


def on(number: int, members: str, mirror: str = "m", *, has_log: bool = True, **former: tuple[int, str]) -> Found:
    """A disk with a label; each is called as its id is. `former`: of disks that were left out, the last generation."""
    left = {name: Members(last, {each: each for each in named}) for name, (last, named) in former.items()}
    return Found("", Label(mirror, "", Generation(number, {each: each for each in members}, left)), has_log)


BLANK = on(0, "", has_log=False)
UNFINISHED = on(0, "")


def found(**disks: Found) -> tuple[int, str, str]:
    """The generation's number and members, and which disks are current."""
    named = [
        Found(name, each.label and Label(each.label.mirror, name, each.label.generation), each.has_log)
        for name, each in disks.items()
    ]
    generation, current = standing(named, {name: name for name in disks})
    return generation.number, "".join(generation.members), "".join(current)


@pytest.mark.parametrize(
    ("disks", "expected"),
    [
        pytest.param({"a": NEW, "b": NEW}, (0, "", "ab"), id="all are new"),
        pytest.param({"a": NEW, "b": PLAIN}, (1, "b", "b"), id="a store of one folder, and a new one"),
        pytest.param({"a": BLANK, "b": BLANK}, (0, "", "ab"), id="the first start was broken off at once"),
        pytest.param({"a": on(1, "ab"), "b": BLANK}, (1, "ab", "ab"), id="the first start was broken off in its labels"),
        pytest.param({"a": on(3, "ab"), "b": on(3, "ab")}, (3, "ab", "ab"), id="both have all"),
        pytest.param({"a": on(3, "ab"), "b": on(4, "b", a=(3, "ab"))}, (4, "b", "b"), id="one was left out"),
        pytest.param(
            {"a": on(3, "abc"), "b": on(4, "bc", a=(3, "abc")), "c": on(3, "abc")}, (4, "bc", "bc"), id="a drop broken off"
        ),
        pytest.param(
            {"a": on(9, "ac", b=(5, "bc")), "b": on(5, "bc")},
            (9, "ac", "a"),
            id="one that was left out by one that is missing",
        ),
        pytest.param(
            {"a": on(4, "ac", b=(3, "abc")), "b": on(9, "bc", a=(3, "abc"))},
            (9, "bc", "b"),
            id="one that it alone had, later",
        ),
        pytest.param({"a": on(9, "a", b=(5, "ab")), "b": on(4, "ab")}, (9, "a", "a"), id="left out, with an earlier label"),
        pytest.param({"a": on(4, "ab"), "b": on(4, "ab"), "c": UNFINISHED}, (4, "ab", "ab"), id="a copy is not whole"),
        pytest.param({"a": on(5, "ab"), "b": on(4, "a")}, (5, "ab", "ab"), id="admitted, but the label is the one before"),
        pytest.param({"a": on(4, "a"), "b": on(4, "a")}, (4, "a", "a"), id="not admitted yet"),
        pytest.param({"a": on(4, "ab"), "b": on(2, "ab")}, (4, "ab", "a"), id="one from a backup"),
        pytest.param({"b": on(4, "abc"), "c": on(4, "abc")}, (4, "abc", "bc"), id="one of three is missing"),
        pytest.param({"b": on(4, "ab"), "c": NEW}, (4, "ab", "b"), id="one of two is missing, another is new"),
        pytest.param(
            {"a": on(4, "ac", b=(3, "abc")), "b": on(4, "bc", a=(3, "abc")), "c": on(4, "bc", a=(3, "abc"))},
            (4, "bc", "bc"),
            id="a generation that one alone had",
        ),
        pytest.param({"a": Found("", Label("", ""), has_log=True), "b": on(2, "xb")}, (2, "xb", "b"), id="a damaged label"),
    ],
)
def test_who_has_all(disks: dict[str, Found], expected: tuple[int, str, str]) -> None:
    assert found(**disks) == expected


@pytest.mark.parametrize(
    ("disks", "why"),
    [
        pytest.param({"a": PLAIN, "b": PLAIN}, "a and b have logs of their own", id="two stores of one folder"),
        pytest.param({"a": PLAIN, "b": on(2, "b")}, "a and b have logs of their own", id="one of another store"),
        pytest.param({"a": on(2, "a", "m"), "b": on(2, "b", "n")}, "a and b have logs of their own", id="two mirrors"),
        pytest.param({"c": on(4, "abc")}, "c may lack.*a and b also had it.*start with c alone", id="alone of three"),
        pytest.param({"b": on(4, "a"), "c": NEW}, "b may lack.*for a also had it", id="none that has all"),
        pytest.param({"b": UNFINISHED}, "never whole", id="a copy that is not whole, alone"),
        pytest.param({"a": on(4, "a"), "b": on(4, "b")}, "a and b went on without each other", id="each went on alone"),
        pytest.param(
            {"a": on(9, "a", b=(3, "ab")), "b": on(4, "b", a=(3, "ab"))}, "b and a went on without", id="one for longer"
        ),
        pytest.param(
            {"a": on(9, "a", b=(4, "ab")), "b": on(4, "b", a=(3, "ab"))}, "b and a went on without", id="at the same number"
        ),
        pytest.param({"a": on(4, "ac"), "b": on(4, "bc")}, "went on without each other", id="the third one would know"),
    ],
)
def test_what_cannot_be_known_is_refused(disks: dict[str, Found], why: str) -> None:
    with pytest.raises(LogError, match=why):
        found(**disks)
