"""Which disks of a mirror have all that was acknowledged: what the label on each of them says, and what follows.

A generation is who belongs to the mirror from some moment on. Rules of who stores labels: nothing is acknowledged without
a disk before a generation without it is on all its members; each start begins one; a disk is named when all is on it; and
each member has the label of a generation before any has that of the next. So
- the highest generation counts, and of its members all that are at it or at the one before have all;
- of two with one number, that counts which none of its own members contradicts: the other was never on all of them;
- with at least half of its members here nobody else can have gone on, but for one of two (which the operator is told).
Errors: `LogError`, before anything is changed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from topics.log import LogError

REMEDY = "remove from it mirror.json, log.json, journal/ and archive/"


class Generation(msgspec.Struct, frozen=True):
    number: int = 0
    members: dict[str, str] = {}  # id → how it was called


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
    ids = {labels[name].own for name in current}
    for name, label in labels.items():
        if label.generation.number and not ids & label.generation.members.keys():
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
