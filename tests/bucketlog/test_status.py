"""What an operator is told of a cluster in a given state, and how it looks."""

import io

import msgspec
import pytest
from rich.console import Console

from bucketlog.cli import show
from bucketlog.status import Condition, Heard, PartitionStatus, conditions, status_of
from topics.placement import Brakes, Group, Node, Placement, State


def node(name: str, state: State = State.UP, *, is_draining: bool = False) -> Node:
    return Node(name, "i", "b", f"http://{name}:9100", f"rack of {name}", 1000, state, is_draining)


def placement(*groups: Group, down: str = "", draining: str = "", copies: int = 2) -> Placement:
    nodes = {
        name: node(name, State.DOWN if name in down else State.UP, is_draining=name in draining) for name in ("a", "b", "c")
    }
    return Placement(7, copies, nodes, list(groups))


@pytest.mark.parametrize(
    ("group", "down", "condition"),
    [
        (Group(["a", "b"], ["a", "b"]), "", Condition.WHOLE),
        (Group(["a", "b"], ["b", "a", "c"]), "c", Condition.WHOLE),
        (Group(["a", "b"], ["a", "c"]), "", Condition.COPYING),
        (Group(["a", "b"], ["a"]), "", Condition.UNDER_REPLICATED),
        (Group(["a", "b"], ["a", "b"]), "b", Condition.UNDER_REPLICATED),
        (Group(["a", "b"], ["a", "b"]), "ab", Condition.WITHOUT_HOLDER),
        (Group([], None), "", Condition.WITHOUT_HOLDER),
    ],
)
def test_a_groups_condition_is_the_worst_that_holds(group: Group, down: str, condition: Condition) -> None:
    assert conditions(placement(group, down=down))[condition] == [0]


def test_a_node_is_shown_with_what_it_holds_lacks_and_has_yet_to_give_up() -> None:
    groups = [Group(["a", "b"], ["b", "c"]), Group(["a", "b"], ["a", "b"]), Group(["a", "b"], ["c"])]
    heard = {"a": Heard(300, {0: 4, 2: 1}, 0.5)}
    found = status_of(placement(*groups, draining="c"), heard, [])
    a, b, c = found.nodes
    assert (a.groups_wanted, a.groups_held, a.groups_leaving, a.blobs_behind) == (3, 1, 0, 5)
    assert (a.used_bytes, a.heard_ago_s, b.used_bytes, b.heard_ago_s) == (300, 0.5, None, None)
    assert (c.groups_wanted, c.groups_held, c.groups_leaving, c.is_draining) == (0, 0, 2, True)


def test_the_tables_name_what_is_wrong_and_fit_into_80_columns() -> None:
    groups = [Group(["a", "b"], ["b", "c"]), Group(["a", "b"], ["c"])]
    partitions = [PartitionStatus(0, "http://p:9200", 3), PartitionStatus(1, "", None)]
    found = status_of(placement(*groups, draining="c", down="b"), {"b": Heard(300, {0: 4}, 33.0)}, partitions)
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(show.status(found))
    text = console.export_text()
    for words in (
        "up, draining",
        "heard 33 s ago",
        "2 leaving",
        "lacks 4 blobs",
        "rack of a",
        "nobody",
        "under-replicated",
    ):
        assert words in text


def test_what_is_wrong_with_a_node_and_what_is_paused_are_shown() -> None:
    made = msgspec.structs.replace(placement(Group(["a", "b"], ["b"]), down="b"), held=Brakes(is_paused=True))
    heard = {"a": Heard(300, {}, 0.5, "", -3600.0), "c": Heard(300, {}, 0.5, "", 20.0, "a sync has taken 30 s")}
    found = status_of(made, heard, [])
    assert [(node.name, node.warnings) for node in found.nodes] == [
        ("a", ["its clock is -3600 s off the log's"]),
        ("b", ["will not be out by itself: the cluster is paused"]),
        ("c", ["its disk fails: a sync has taken 30 s"]),
    ]
    console = Console(file=io.StringIO(), width=80, record=True)
    console.print(show.status(found))
    text = console.export_text()
    for words in ("paused: no data node goes out by itself", "a: its clock is -3600 s off", "c: its disk fails"):
        assert words in text
