"""Which disks of a mirror have all that was acknowledged: what the label on each of them says, and what follows.

A generation is who belongs to the mirror from some moment on. Rules of who stores labels: nothing is acknowledged without
a disk before a generation without it is on all its members; each start begins one; a disk is named when all is on it; and
each member has the label of a generation before any has that of the next. So
- the highest generation counts, and of its members all that are at it or at the one before have all;
- of two with one number, that counts which none of its own members contradicts: the other was never on all of them;
- with at least half of its members here nobody else can have gone on, but for one of two (which the operator is told); and
  if one has, its label shows it when both are there again: each generation knows the last one of those that it left.
Errors: `LogError`, before anything is changed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from topics.log import LogError

REMEDY = "remove from it mirror.json, log.json, journal/ and archive/"


class Members(msgspec.Struct, frozen=True):
    number: int = 0
    names: dict[str, str] = {}  # by id: how each was called


class Generation(msgspec.Struct, frozen=True):
    number: int = 0
    members: dict[str, str] = {}  # id → how it was called
    former: dict[str, Members] = {}  # of a disk that is none any more: the last generation that named it

    def following(self, members: dict[str, str]) -> "Generation":
        """One that has all that this one has."""
        left = {id_: Members(self.number, self.members) for id_ in self.members if id_ not in members}
        return Generation(self.number + 1, members, self.former | left)

    def has_all_of(self, label: "Label") -> bool:
        """Whether a disk that lacks something has nothing of its own: no generation which is none of those before this one.

        It cannot have gone on with a disk that was a member here at that number: that one knew of another generation.
        """
        theirs = label.generation
        if label.own in self.members or label.own not in theirs.members:
            return True
        if any(id_ != label.own and self._had(id_, theirs.number) for id_ in theirs.members):
            return True
        last = self.former.get(label.own, Members())
        return theirs.number < last.number or (theirs.number, theirs.members) == (last.number, last.names)

    def _had(self, id_: str, number: int) -> bool:
        return id_ in self.members or self.former.get(id_, Members()).number >= number


class Label(msgspec.Struct, frozen=True):
    mirror: str  # id, the same on all
    own: str  # id of this disk
    generation: Generation = Generation()  # number 0: it is new, or its copy is not whole


class Found(NamedTuple):
    """A disk at a start."""

    name: str
    label: Label | None
    has_log: bool


class Standing(NamedTuple):
    generation: Generation
    current: list[str]  # names of the disks that have all


def standing(disks: Sequence[Found], ids: dict[str, str]) -> Standing:
    """`ids` of the disks by name, as they are on the labels or would be. Raises `LogError` where it cannot be known."""
    unlabelled = [each.name for each in disks if each.has_log and each.label is None]
    labels = {each.name: each.label for each in disks if each.label is not None}
    by_mirror = {label.mirror: name for name, label in labels.items() if label.generation.number}
    if len(own := [*unlabelled, *by_mirror.values()]) > 1:
        raise LogError(f"{' and '.join(own)} have logs of their own; start with the folders of one store only")
    if by_mirror:
        return _of_labels(labels)
    if unlabelled:
        return Standing(Generation(1, {ids[unlabelled[0]]: unlabelled[0]}), unlabelled)
    if unfinished := [each.name for each in disks if each.has_log]:
        raise LogError(f"the log on {unfinished[0]} is a copy that was never whole; name the other folders, too")
    return Standing(Generation(), [each.name for each in disks])


def _of_labels(labels: dict[str, Label]) -> Standing:
    highest = _highest(labels)
    current = [name for name, label in labels.items() if _has_all(label, highest)]
    absent = [called for id_, called in highest.members.items() if id_ not in {labels[name].own for name in current}]
    if 2 * len(current) < len(highest.members) or not current:
        raise LogError(
            f"{' and '.join(labels)} may lack the end of the log, for {' and '.join(absent)} also had it: name these, "
            f"too; if they are gone for good, start with {next(iter(labels))} alone and without its mirror.json: "
            "what the others had beyond it is lost then"
        )
    for name, label in labels.items():
        if name not in current and not highest.has_all_of(label):
            raise LogError(_apart([name, *current]))
    return Standing(highest, current)


def _highest(labels: dict[str, Label]) -> Generation:
    number = max(label.generation.number for label in labels.values())
    at_it = [label for label in labels.values() if label.generation.number == number]
    found: list[Generation] = []
    for generation in (label.generation for label in at_it):
        said = [label.generation for label in at_it if label.own in generation.members]
        if generation not in found and all(each == generation for each in said):
            found.append(generation)
    if len(found) != 1:
        raise LogError(_apart(list(labels)))
    return found[0]


def _has_all(label: Label, highest: Generation) -> bool:
    if label.generation == highest:
        return label.own in highest.members
    return label.own in highest.members and label.generation.number == highest.number - 1


def _apart(names: Sequence[str]) -> str:
    return (
        f"the logs on {' and '.join(names)} went on without each other; "
        f"start with the one that counts, or keep its folder and of each other {REMEDY}"
    )
