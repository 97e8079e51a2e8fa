"""Data nodes and their groups: for each row the reply, the exact event, and who has the one group there is after replay."""

from typing import Any, NamedTuple

import msgspec
import pytest

from processors.machine import tables
from tests.processors.machine import Machine
from tests.processors.rows import done, rejected
from topics import commands, events
from topics.commands import Mark
from topics.events import NodeChanged, Placed
from topics.placement import Group, Node, Placement, State, encode
from topics.replies import Reply

A, B, C = "b", "a", "g"  # as they are ranked for group 0 where all are of one size
OLD, NEW = "1", "2"  # processes
TWO = Placement(copies=2, groups=[Group()])


class Row(NamedTuple):
    name: str
    given: list[commands.ClusterBody]
    when: commands.ClusterBody
    event: events.ClusterEvent | None
    nodes: str  # name:state, in the order in which they came
    targets: str
    holders: str | None
    reply: Reply = done()


def join(name: str, boot: str = OLD, folder: str = "", size: int = 1) -> commands.RegisterNode:
    return commands.RegisterNode(name, folder or name, boot, f"http://{name}", f"rack-{name}", size)


def known(name: str) -> commands.RegisterNode:
    return msgspec.structs.replace(join(name), is_known=True)


def node(name: str, boot: str = OLD, folder: str = "", **fields: Any) -> Node:
    return Node(name, folder or name, boot, f"http://{name}", f"rack-{name}", **({"capacity_bytes": 1} | fields))


def mark(name: str, mark: Mark, boot: str = OLD) -> commands.MarkNode:
    return commands.MarkNode(name, boot, mark)


def hold(name: str, holds: bool = True, boot: str = OLD, group: int = 0) -> commands.HoldGroup:
    return commands.HoldGroup(name, boot, group, holds)


def drain(name: str, is_draining: bool = True) -> commands.DrainNode:
    return commands.DrainNode(name, is_draining)


def gone(name: str) -> list[commands.ClusterBody]:
    return [mark(name, Mark.DOWN), mark(name, Mark.OUT)]


BOTH: list[commands.ClusterBody] = [join(A), join(B), hold(B)]
ALL = [*BOTH, join(C)]
JOINED = [
    Row("first", [], join(A), NodeChanged(node(A), "joined", Placed({0: [A]}, {0: [A]})), "b:up", A, A),
    Row("second", [join(A)], join(B), NodeChanged(node(B), "joined", Placed({0: [A, B]})), "b:up a:up", "b a", A),
    Row("third of two", BOTH, join(C), NodeChanged(node(C), "joined", Placed()), "b:up a:up g:up", "b a", "b a"),
    Row(
        "one that ranks first moves one copy, and holds nothing yet",
        [join(B), join(C), hold(C)],
        join(A),
        NodeChanged(node(A), "joined", Placed({0: [A, B]})),
        "a:up g:up b:up",
        "b a",
        "a g",
    ),
    Row("known when it was asked for, and removed since", BOTH, known(C), None, "b:up a:up", "b a", "b a"),
    Row("known, again", BOTH, known(B), None, "b:up a:up", "b a", "b a"),
    Row(
        "known, and down",
        [*BOTH, mark(B, Mark.DOWN)],
        known(B),
        NodeChanged(node(B, former_boot=""), "returned", Placed()),
        "b:up a:up",
        "b a",
        "b a",
    ),
    Row("again", BOTH, join(B), None, "b:up a:up", "b a", "b a"),
    Row(
        "by another process",
        BOTH,
        join(B, NEW),
        NodeChanged(node(B, NEW, former_boot=OLD), "returned", Placed()),
        "b:up a:up",
        "b a",
        "b a",
    ),
    Row("by the process that another replaced", [*BOTH, join(B, NEW)], join(B, OLD), None, "b:up a:up", "b a", "b a"),
    Row(
        "larger than before",
        [*BOTH, join(C)],
        join(C, size=1 << 40),
        NodeChanged(node(C, capacity_bytes=1 << 40), "returned", Placed({0: [C, A]})),
        "b:up a:up g:up",
        "g b",
        "b a",
    ),
    Row(
        "with the name of another that is up",
        BOTH,
        join(B, NEW, "other folder"),
        None,
        "b:up a:up",
        "b a",
        "b a",
        rejected("NodeNameTaken", "A node a with another data folder is up."),
    ),
    Row(
        "with an emptied folder",
        [*BOTH, mark(B, Mark.DOWN)],
        join(B, NEW, "other folder"),
        NodeChanged(node(B, NEW, "other folder"), "joined", Placed({}, {0: [A]})),
        "b:up a:up",
        "b a",
        A,
    ),
    Row(
        "with an emptied folder, as the last holder: what a target has is all there is",
        [join(A), join(B), mark(A, Mark.DOWN)],
        join(A, NEW, "other folder"),
        NodeChanged(node(A, NEW, "other folder"), "joined", Placed({}, {0: [B]})),
        "b:up a:up",
        "b a",
        B,
    ),
    Row(
        "with an emptied folder, as the last holder that was out: who took its place meanwhile must be copied from",
        [commands.SetCopies(1), join(A), join(B), *gone(A)],
        join(A, NEW, "other folder"),
        NodeChanged(node(A, NEW, "other folder"), "joined", Placed({0: [A]}, {0: [B]})),
        "b:up a:up",
        "b",
        "a",
    ),
    Row(
        "with an emptied folder, as the only node: it begins anew",
        [join(A), mark(A, Mark.DOWN)],
        join(A, NEW, "other folder"),
        NodeChanged(node(A, NEW, "other folder"), "joined", Placed()),
        "b:up",
        A,
        A,
    ),
]
DOWN, OUT = {"state": State.DOWN}, {"state": State.OUT}
MARKED = [
    Row("down", ALL, mark(A, Mark.DOWN), NodeChanged(node(A, **DOWN), "down", Placed()), "b:down a:up g:up", "b a", "b a"),
    Row("down again", [*BOTH, mark(A, Mark.DOWN)], mark(A, Mark.DOWN), None, "b:down a:up", "b a", "b a"),
    Row("down, but it has come back", [*BOTH, join(A, NEW)], mark(A, Mark.DOWN), None, "b:up a:up", "b a", "b a"),
    Row("down, but it is not known", BOTH, mark(C, Mark.DOWN), None, "b:up a:up", "b a", "b a"),
    Row("out, but it is up", BOTH, mark(A, Mark.OUT), None, "b:up a:up", "b a", "b a"),
    Row(
        "out",
        [*ALL, mark(A, Mark.DOWN)],
        mark(A, Mark.OUT),
        NodeChanged(node(A, **OUT), "out", Placed({0: [B, C]}, {0: [B]})),
        "b:out a:up g:up",
        "a g",
        B,
    ),
    Row(
        "out, as the last holder",
        [join(A), join(B), mark(A, Mark.DOWN)],
        mark(A, Mark.OUT),
        NodeChanged(node(A, **OUT), "out", Placed({0: [B]})),
        "b:out a:up",
        B,
        A,
    ),
    Row(
        "back from out",
        [*ALL, *gone(A)],
        join(A, NEW),
        NodeChanged(node(A, NEW, former_boot=OLD), "returned", Placed({0: [A, B]})),
        "b:up a:up g:up",
        "b a",
        B,
    ),
    Row(
        "full",
        BOTH,
        mark(A, Mark.FULL),
        NodeChanged(node(A, is_full=True), "full", Placed()),
        "b:up,full a:up",
        "b a",
        "b a",
    ),
    Row(
        "full before it has copied the group: another copies it",
        [join(A), join(B), join(C)],
        mark(B, Mark.FULL),
        NodeChanged(node(B, is_full=True), "full", Placed({0: [A, C]})),
        "b:up a:up,full g:up",
        "b g",
        A,
    ),
    Row(
        "full before it has copied the group, and there is no other",
        [join(A), join(B)],
        mark(B, Mark.FULL),
        NodeChanged(node(B, is_full=True), "full", Placed({0: [A]})),
        "b:up a:up,full",
        A,
        A,
    ),
    Row(
        "writable: what went to another node meanwhile stays there",
        [join(A), join(B), join(C), mark(B, Mark.FULL)],
        mark(B, Mark.WRITABLE),
        NodeChanged(node(B), "writable", Placed()),
        "b:up a:up g:up",
        "b g",
        A,
    ),
    Row(
        "writable, and a target is missing",
        [join(A), join(B), mark(B, Mark.FULL)],
        mark(B, Mark.WRITABLE),
        NodeChanged(node(B), "writable", Placed({0: [A, B]})),
        "b:up a:up",
        "b a",
        A,
    ),
    Row("full again", [*BOTH, mark(A, Mark.FULL)], mark(A, Mark.FULL), None, "b:up,full a:up", "b a", "b a"),
    Row(
        "writable",
        [*BOTH, mark(A, Mark.FULL)],
        mark(A, Mark.WRITABLE),
        NodeChanged(node(A), "writable", Placed()),
        "b:up a:up",
        "b a",
        "b a",
    ),
    Row(
        "full through a restart",
        [*BOTH, mark(A, Mark.FULL)],
        join(A, NEW),
        NodeChanged(node(A, NEW, former_boot=OLD, is_full=True), "returned", Placed()),
        "b:up,full a:up",
        "b a",
        "b a",
    ),
]
NOT_KNOWN = rejected("NoSuchNode", "There is no data node g.")
ASKED = [
    Row(
        "drain",
        ALL,
        drain(A),
        NodeChanged(node(A, is_draining=True), "draining", Placed({0: [B, C]})),
        "b:up,draining a:up g:up",
        "a g",
        "b a",
    ),
    Row("drain again", [*ALL, drain(A)], drain(A), None, "b:up,draining a:up g:up", "a g", "b a"),
    Row(
        "drain no longer",
        [*ALL, drain(A)],
        drain(A, False),
        NodeChanged(node(A), "staying", Placed({0: [A, B]})),
        "b:up a:up g:up",
        "b a",
        "b a",
    ),
    Row("drain what is not known", BOTH, drain(C), None, "b:up a:up", "b a", "b a", NOT_KNOWN),
    Row("remove what is not known", BOTH, commands.RemoveNode(C), None, "b:up a:up", "b a", "b a", NOT_KNOWN),
    Row(
        "remove a holder",
        [*ALL, drain(A)],
        commands.RemoveNode(A),
        None,
        "b:up,draining a:up g:up",
        "a g",
        "b a",
        rejected("NodeHoldsData", "Node b has 1 replication groups; drain it first."),
    ),
    Row(
        "remove what would come back",
        ALL,
        commands.RemoveNode(C),
        None,
        "b:up a:up g:up",
        "b a",
        "b a",
        rejected("NodeHoldsData", "Node g is up and would come back; stop it first."),
    ),
    Row(
        "remove what was drained and is still up",
        [*ALL, drain(A), hold(C)],
        commands.RemoveNode(A),
        None,
        "b:up,draining a:up g:up",
        "a g",
        "a g",
        rejected("NodeHoldsData", "Node b is up and would come back; stop it first."),
    ),
    Row(
        "remove what was drained",
        [*ALL, drain(A), hold(C), mark(A, Mark.DOWN)],
        commands.RemoveNode(A),
        events.NodeRemoved(A),
        "a:up g:up",
        "a g",
        "a g",
    ),
    Row(
        "remove what is down and holds nothing",
        [*ALL, mark(C, Mark.DOWN)],
        commands.RemoveNode(C),
        events.NodeRemoved(C),
        "b:up a:up",
        "b a",
        "b a",
    ),
    Row(
        "one copy is enough",
        BOTH,
        commands.SetCopies(1),
        events.CopiesSet(1, Placed({0: [A]}, {0: [A]})),
        "b:up a:up",
        A,
        A,
    ),
    Row(
        "three copies",
        ALL,
        commands.SetCopies(3),
        events.CopiesSet(3, Placed({0: [A, B, C]})),
        "b:up a:up g:up",
        "b a g",
        "b a",
    ),
    Row("two copies, as it was", BOTH, commands.SetCopies(2), None, "b:up a:up", "b a", "b a"),
    *(
        Row(
            f"{copies} copies",
            [],
            commands.SetCopies(copies),
            None,
            "",
            "",
            None,
            rejected("InvalidArgument", "Copies are 1 to 7."),
        )
        for copies in (0, 8)
    ),
]
FIVE = [*ALL, join("h"), join("i")]


def in_rack(name: str) -> commands.RegisterNode:
    return commands.RegisterNode(name, name, OLD, f"http://{name}", "rack", 1)


RACK: list[commands.ClusterBody] = [in_rack(A), in_rack(B), join(C), join("h")]
PAUSE, RESUME = commands.PauseCluster(is_paused=True), commands.PauseCluster(is_paused=False)
BRAKES = [
    Row("pause", BOTH, PAUSE, events.Paused(), "b:up a:up", "b a", "b a"),
    Row("pause again", [*BOTH, PAUSE], PAUSE, None, "b:up a:up", "b a", "b a"),
    Row("resume", [*BOTH, PAUSE], RESUME, events.Resumed(), "b:up a:up", "b a", "b a"),
    Row("resume what is not paused", BOTH, RESUME, None, "b:up a:up", "b a", "b a"),
    Row("out while paused", [*ALL, PAUSE, mark(A, Mark.DOWN)], mark(A, Mark.OUT), None, "b:down a:up g:up", "b a", "b a"),
    Row(
        "one more than the share",
        [*FIVE, *gone(C), mark(A, Mark.DOWN)],
        mark(A, Mark.OUT),
        None,
        "b:down a:up g:out h:up i:up",
        "b a",
        "b a",
    ),
    Row(
        "as many as the share",
        [*FIVE, commands.SetOutShare(0.4), *gone(C), mark("i", Mark.DOWN)],
        mark("i", Mark.OUT),
        NodeChanged(node("i", **OUT), "out", Placed()),
        "b:up a:up g:out h:up i:out",
        "b a",
        "b a",
    ),
    Row(
        "without any share",
        [*ALL, commands.SetOutShare(0), mark(C, Mark.DOWN)],
        mark(C, Mark.OUT),
        None,
        "b:up a:up g:down",
        "b a",
        "b a",
    ),
    Row(
        "one that is drained is not counted, and not held back",
        [*FIVE, *gone(C), drain("i"), mark("i", Mark.DOWN)],
        mark("i", Mark.OUT),
        NodeChanged(node("i", is_draining=True, **OUT), "out", Placed()),
        "b:up a:up g:out h:up i:out,draining",
        "b a",
        "b a",
    ),
    Row(
        "the last of its failure domain",
        [*RACK, mark(A, Mark.DOWN), mark(B, Mark.DOWN)],
        mark(A, Mark.OUT),
        None,
        "b:down a:down g:up h:up",
        "b g",
        "b",
    ),
    Row("the share again", BOTH, commands.SetOutShare(0.25), None, "b:up a:up", "b a", "b a"),
    Row("another share", BOTH, commands.SetOutShare(1), events.OutShareSet(1), "b:up a:up", "b a", "b a"),
    Row(
        "no share",
        BOTH,
        commands.SetOutShare(1.5),
        None,
        "b:up a:up",
        "b a",
        "b a",
        rejected("InvalidArgument", "The share of nodes that may go out by themselves is 0 to 1."),
    ),
]
HELD = [
    Row("held", [join(A), join(B)], hold(B), events.GroupHeld(B, 0, [A, B]), "b:up a:up", "b a", "b a"),
    Row(
        "held by all targets: nobody else need",
        [*ALL, drain(A)],
        hold(C),
        events.GroupHeld(C, 0, [B, C]),
        "b:up,draining a:up g:up",
        "a g",
        "a g",
    ),
    Row("held, as was known", BOTH, hold(B), None, "b:up a:up", "b a", "b a"),
    Row("held by no target", ALL, hold(C), None, "b:up a:up g:up", "b a", "b a"),
    Row("held, as a former process said", [join(A), join(B)], hold(B, True, "other"), None, "b:up a:up", "b a", A),
    Row("held by who is not known", [join(A)], hold(B), None, "b:up", A, A),
    Row("a group that there is not", BOTH, hold(A, False, group=1), None, "b:up a:up", "b a", "b a"),
    Row("lost", BOTH, hold(A, False), events.GroupHeld(A, 0, [B]), "b:up a:up", "b a", B),
    Row(
        "lost by a full node: another copies it",
        [*ALL, mark(A, Mark.FULL)],
        hold(A, False),
        events.GroupHeld(A, 0, [B], [B, C]),
        "b:up,full a:up g:up",
        "a g",
        B,
    ),
    Row("lost by the last holder", [join(A), join(B)], hold(A, False), None, "b:up a:up", "b a", A),
]


@pytest.mark.parametrize("row", [*JOINED, *MARKED, *ASKED, *BRAKES, *HELD], ids=lambda row: row.name)
def test_membership(row: Row) -> None:
    machine = Machine({tables.PLACEMENT_KEY: encode(TWO)})
    for epoch, body in enumerate(row.given, 1):
        machine.send(body)
        assert tables.placement(machine.view).epoch == epoch  # each of them is something new
    assert machine.send(row.when) == (row.reply, row.event)
    found = tables.placement(machine.replayed())
    assert found.epoch == len(row.given) + (row.event is not None)
    (group,) = found.groups
    assert (nodes(found), " ".join(group.targets)) == (row.nodes, row.targets)
    assert (None if group.holders is None else " ".join(group.holders)) == row.holders


def nodes(placement: Placement) -> str:
    return " ".join(
        f"{name}:{each.state}{',draining' * each.is_draining}{',full' * each.is_full}"
        for name, each in placement.nodes.items()
    )
