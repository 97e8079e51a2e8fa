"""What a judge does that finds what was heard before it: the mapping may be a table that outlives it."""

from collections.abc import Iterator, MutableMapping

from processors.liveness import Limits, Liveness
from topics import commands
from topics.commands import Mark
from topics.heartbeats import Heard, Heartbeat
from topics.placement import Group, Node, Placement

LIMITS = Limits(grace_ms=15_000, out_ms=60_000, stall_ms=5_000)


class Table(MutableMapping[str, Heard]):
    """As Faust's: changes are told to its changelog, values are replaced and never changed in place."""

    def __init__(self) -> None:
        self.changelog: list[tuple[str, Heard | None]] = []

    def __getitem__(self, name: str) -> Heard:
        return self._folded()[name]

    def __setitem__(self, name: str, heard: Heard) -> None:
        self.changelog.append((name, heard))

    def __delitem__(self, name: str) -> None:
        self.changelog.append((name, None))

    def __iter__(self) -> Iterator[str]:
        return iter(self._folded())

    def __len__(self) -> int:
        return len(self._folded())

    def _folded(self) -> dict[str, Heard]:
        return {name: heard for name, heard in dict(self.changelog).items() if heard is not None}


def beat(name: str, time_ms: int, cluster: str = "c", positions: dict[int, int] | None = None) -> Heartbeat:
    return Heartbeat(
        name, "i", "b", "http://n", "d", cluster, time_ms, 1 << 40, 0, is_full=False, positions=positions or {}
    )


def cluster(*names: str) -> Placement:
    nodes = {name: Node(name, "i", "b", "http://n", "d", 1 << 40) for name in names}
    return Placement(1, nodes=nodes, groups=[Group(list(names))])


def test_what_was_heard_goes_through_the_mapping_and_is_there_for_the_next_judge() -> None:
    table, placement = Table(), cluster("a")
    Liveness("c", LIMITS, table).heard(1_000, beat("a", 1_000, positions={0: 7}), placement)
    assert table["a"] == Heard(1_000, beat("a", 1_000, positions={0: 7}))
    again = Liveness("c", LIMITS, table)
    assert again.judge(2_000, placement) == []
    assert again.trimmable(placement) == {0: 7}


def test_who_judges_anew_waits_for_the_grace_though_a_node_was_silent_long_before() -> None:
    table, placement = Table(), cluster("a")
    Liveness("c", LIMITS, table).heard(1_000, beat("a", 1_000), placement)
    again = Liveness("c", LIMITS, table)
    judged = {second: again.judge(second * 1_000, placement) for second in range(100, 117)}
    assert [second for second, found in judged.items() if found] == [116]
    assert judged[116] == [commands.MarkNode("a", "b", Mark.DOWN)]


def test_nobody_is_registered_by_an_old_word_alone() -> None:
    table = Table()
    before = Liveness("c", LIMITS, table)
    before.since(Placement())
    before.heard(1_000, beat("a", 1_000), Placement())
    assert before.judge(2_000, Placement()) != []
    assert before.judge(17_000, Placement()) == []
    assert Liveness("c", LIMITS, table).judge(2_000, Placement()) == []  # it may have been removed meanwhile


def test_what_another_cluster_left_in_the_table_is_forgotten_before_anything_is_trimmed_by_it() -> None:
    table, placement = Table(), cluster("a")
    table["a"] = Heard(1_000, beat("a", 1_000, "former", {0: 7}))
    again = Liveness("c", LIMITS, table)
    assert again.trimmable(placement) == {}
    assert again.judge(2_000, placement) == []
    assert dict(table) == {}


def test_a_node_that_is_gone_for_good_does_not_stay_in_the_table() -> None:
    table = Table()
    liveness = Liveness("c", LIMITS, table)
    for name in ("a", "b"):
        liveness.heard(1_000, beat(name, 1_000), cluster("a"))
    for second in range(2, 78):
        liveness.judge(second * 1_000, cluster("a"))
    assert set(table) == {"a"}
