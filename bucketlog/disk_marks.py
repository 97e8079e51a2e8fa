"""What `bucketlog serve` says of its own disks, where a cluster hears it in heartbeats: full, with room again, failing.

Rules: a disk that fails is out by its own word, so that its groups go to the others and the log need not wait for it; the
last ones never are. Then, as at a start without it, there are as many copies as there are disks, up to `COPIES`; not before
it is out, for a copy that goes must be the failing one. A disk that was out takes part again after the next start.
"""

from collections.abc import Mapping
from typing import NamedTuple

from topics import commands
from topics.commands import Mark
from topics.placement import COPIES, Placement, State


class Said(NamedTuple):
    """By a disk, of itself."""

    is_full: bool
    failure: str  # empty where it works


def marks(placement: Placement, said: Mapping[str, Said]) -> list[commands.ClusterBody]:
    """The commands that make the map say the same; none where it does."""
    found: list[commands.ClusterBody] = []
    well = [name for name, each in said.items() if not each.failure and placement.is_up(name)]
    for name, each in said.items():
        if (node := placement.nodes.get(name)) is None:
            continue
        if each.failure and well and node.state is not State.OUT:
            found.append(commands.MarkNode(name, node.boot, Mark.DOWN if node.state is State.UP else Mark.OUT))
        elif each.failure and well and placement.copies > min(COPIES, len(well)):
            found.append(commands.SetCopies(min(COPIES, len(well))))
        elif not each.failure and each.is_full != node.is_full:
            found.append(commands.MarkNode(name, node.boot, Mark.FULL if each.is_full else Mark.WRITABLE))
    return found
