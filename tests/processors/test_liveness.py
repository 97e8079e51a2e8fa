"""Who judges the data nodes: what it asks for after what it heard and when, on the log's clock alone."""

from typing import Any

import msgspec
import pytest

from processors.liveness import Limits, Liveness, trimmable
from tests.processors.data_nodes import beat, cluster, node
from topics import commands
from topics.commands import Mark, MarkNode
from topics.heartbeats import Heard
from topics.placement import Brakes, Group, Placement, State

GRACE, OUT = 15_000, 600_000
NOW = 1_800_000_000_000


KNOWN = cluster(node("a"), node("b"))


class Bench:
    """Seconds from the first record on; each second what is `well` is heard, and a tick."""

    def __init__(self, placement: Placement = KNOWN) -> None:
        self.liveness = Liveness("cluster", Limits(GRACE, OUT))
        self.liveness.since(placement)
        self.placement = placement
        self.second = 0

    def hear(self, name: str, **fields: Any) -> str:
        said = beat(name, self._now, **fields)
        return self.liveness.heard(self._now, said, self.placement)

    def judge(self) -> list[commands.ClusterBody]:
        self.liveness.since(self.placement)
        return self.liveness.judge(self._now, self.placement)

    def passes(self, seconds: int, well: str = "") -> list[tuple[int, commands.ClusterBody]]:
        """What is asked for, and when."""
        asked: list[tuple[int, commands.ClusterBody]] = []
        for _ in range(seconds):
            self.second += 1
            for name in well:
                self.hear(name)
            asked += [(self.second, body) for body in self.judge()]
        return asked

    def first(self, seconds: int, well: str = "") -> tuple[int, commands.ClusterBody] | None:
        return next(iter(self.passes(seconds, well)), None)

    @property
    def _now(self) -> int:
        return NOW + self.second * 1000


def test_a_node_that_is_heard_is_left_alone() -> None:
    assert Bench().passes(60, "ab") == []


def test_a_node_that_falls_silent_is_down_after_the_grace_and_not_before() -> None:
    bench = Bench()
    bench.passes(10, "ab")
    assert bench.first(30, "a") == (10 + 16, MarkNode("b", "1", Mark.DOWN))


def test_a_node_that_was_never_heard_is_down_after_the_grace() -> None:
    assert Bench().first(30, "a") == (1 + 16, MarkNode("b", "1", Mark.DOWN))


def test_a_node_that_stays_down_is_out_after_long_and_not_before() -> None:
    bench = Bench(cluster(node("a"), node("b", state=State.DOWN)))
    assert bench.first(700, "a") == (1 + 616, MarkNode("b", "1", Mark.OUT))


def test_a_node_that_is_out_is_left_alone() -> None:
    assert Bench(cluster(node("a"), node("b", state=State.OUT))).passes(700, "a") == []


def test_after_a_stall_the_grace_starts_again_for_all() -> None:
    bench = Bench()
    bench.passes(10, "ab")
    bench.passes(10, "a")  # b is silent, still within its grace
    bench.second += 100  # the broker stands still
    assert bench.first(30, "a") == (121 + 16, MarkNode("b", "1", Mark.DOWN))


def test_while_others_are_heard_there_is_no_stall() -> None:
    bench = Bench()
    bench.passes(10, "ab")
    for _ in range(4):
        bench.second += 5
        bench.hear("a")
    assert bench.judge() == [MarkNode("b", "1", Mark.DOWN)]


@pytest.mark.parametrize(
    "said",
    [{"boot": "2"}, {"endpoint": "http://elsewhere"}, {"domain": "rack"}, {"capacity_bytes": 7}],
    ids=lambda said: next(iter(said)),
)
def test_what_a_node_says_anew_of_itself_is_registered(said: dict[str, Any]) -> None:
    bench = Bench()
    bench.passes(1, "ab")
    assert bench.hear("b", **said) == ""
    expected = beat("b", 0, **said)
    registered = (expected.incarnation, expected.boot, expected.endpoint, expected.domain, expected.capacity_bytes)
    assert bench.judge() == [commands.RegisterNode("b", *registered, is_known=True)]


@pytest.mark.parametrize("state", [State.DOWN, State.OUT])
def test_a_node_that_is_heard_again_is_registered(state: State) -> None:
    bench = Bench(cluster(node("b", state=state)))
    bench.hear("b")
    assert bench.judge() == [commands.RegisterNode("b", "folder-b", "1", "http://b", "b", 100, is_known=True)]


def test_an_emptied_folder_is_registered_where_the_old_one_is_down() -> None:
    bench = Bench(cluster(node("b", state=State.DOWN)))
    assert bench.hear("b", incarnation="another") == ""
    assert bench.judge() == [commands.RegisterNode("b", "another", "1", "http://b", "b", 100, is_known=True)]


NOBODY = cluster(node("a"))
DOWN = cluster(node("a"), node("b", state=State.DOWN))


def test_what_a_node_said_before_it_was_removed_does_not_bring_it_back() -> None:
    bench = Bench(DOWN)
    bench.passes(3, "a")
    bench.hear("b")  # it is started again, stopped at once, and removed before it was judged
    bench.placement = NOBODY
    assert bench.passes(60, "a") == []
    bench.hear("b")
    assert bench.judge() == [commands.RegisterNode("b", "folder-b", "1", "http://b", "b", 100)]


def test_what_was_said_before_a_removal_and_is_heard_after_it_does_not_bring_the_node_back() -> None:
    """Who judges read its log later than it learned of the removal."""
    bench = Bench(DOWN)
    bench.liveness.since(bench.placement)
    bench.placement = NOBODY
    bench.hear("b")
    assert bench.passes(60, "a") == []


@pytest.mark.parametrize(
    "placement", [NOBODY, DOWN, cluster(node("a"), node("b", state=State.OUT))], ids=["-", "down", "out"]
)
def test_when_the_logs_clock_is_set_back_nobody_comes_back_by_what_was_heard_long_ago(placement: Placement) -> None:
    bench = Bench()
    bench.passes(3, "ab")
    bench.passes(30, "a")
    bench.placement = placement
    bench.passes(30, "a")
    bench.second -= 3_600
    assert bench.passes(60, "a") == []


def test_who_judges_anew_registers_nobody_by_what_was_said_before_its_first_tick() -> None:
    bench = Bench(NOBODY)
    bench.liveness = Liveness("cluster", Limits(GRACE, OUT))
    bench.hear("b")
    assert bench.judge() == []
    bench.hear("b")
    assert [type(each) for each in bench.judge()] == [commands.RegisterNode]


def test_who_was_heard_long_ago_is_not_registered() -> None:
    bench = Bench(cluster(node("b", state=State.DOWN)))
    bench.hear("b")
    assert {second for second, _ in bench.passes(20)} == set(range(1, 16))  # while it may be there


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("another cluster", {"cluster": "another"}, "belongs to another cluster"),
    ("a name that is taken", {"incarnation": "another"}, "of this name is up at http://b"),
    ("a process that was replaced", {"boot": "0"}, "a later process of this node is at http://b"),
]


@pytest.mark.parametrize(("said", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_who_is_refused_is_told_once_and_counts_as_silent(said: dict[str, Any], why: str) -> None:
    bench = Bench(cluster(node("a"), node("b", former_boot="0")))
    first = bench.hear("b", **said)
    assert why in first
    assert bench.hear("b", **said) == ""  # no news
    assert bench.judge() == []
    assert bench.liveness.behind() == {}
    assert bench.first(30, "a") == (16, MarkNode("b", "1", Mark.DOWN))


def test_who_is_refused_again_after_all_was_well_is_told_again() -> None:
    bench = Bench()
    assert bench.hear("b", cluster="another")
    assert not bench.hear("b")
    assert bench.hear("b", cluster="another")


@pytest.mark.parametrize("off_s", [-3_600, -61, 61, 3_600])
def test_a_clock_that_is_off_is_told_and_judges_nobody(off_s: int) -> None:
    bench = Bench()
    for _ in range(700):
        bench.second += 1
        assert bench.hear("a") == bench.hear("b", clock_ms=bench._now + off_s * 1000) == ""
        assert bench.judge() == []
    assert bench.liveness.clocks_off_s() == {"a": 0, "b": off_s}
    (told,) = bench.liveness.warnings(KNOWN).items()
    assert told == (("b", "clock"), f"its clock is {off_s:+d} s off the log's; set it, or the broker's, right")


def test_a_clock_that_is_a_little_off_is_no_news() -> None:
    bench = Bench()
    bench.hear("b", clock_ms=bench._now + 30_000)
    assert bench.liveness.warnings(KNOWN) == {}


@pytest.mark.parametrize("jump_s", [-3_600, -61, 61, 3_600])
def test_when_the_logs_clock_is_set_nobody_is_judged_by_it(jump_s: int) -> None:
    bench = Bench()
    bench.passes(20, "ab")
    bench.second += jump_s
    assert bench.passes(20, "ab") == []
    bench.second -= jump_s
    assert bench.passes(20, "ab") == []
    bench.second += jump_s
    first = bench.first(30, "a")
    assert first is not None
    assert first[1] == MarkNode("b", "1", Mark.DOWN)
    assert first[0] - (60 + jump_s) <= 17


FAILS = {"disk_failure": "a sync has taken 30 s"}


def test_a_node_whose_disk_fails_is_down_at_once_and_then_out_by_its_own_word() -> None:
    bench = Bench()
    bench.passes(3, "ab")
    bench.hear("b", **FAILS)
    assert bench.judge() == [MarkNode("b", "1", Mark.DOWN)]
    bench.placement = cluster(node("a"), node("b", state=State.DOWN))
    bench.hear("b", **FAILS)
    assert bench.judge() == [MarkNode("b", "1", Mark.OUT)]
    bench.placement = cluster(node("a"), node("b", state=State.OUT))
    bench.hear("b", **FAILS, boot="2")  # it is started again, on the same disk
    assert bench.judge() == []
    assert bench.liveness.warnings(bench.placement)["b", "disk"] == "its disk fails: a sync has taken 30 s; replace it"
    bench.hear("b", boot="2")
    assert [type(each) for each in bench.judge()] == [commands.RegisterNode]


def test_a_later_process_on_a_disk_that_fails_is_not_registered_and_the_node_is_down() -> None:
    bench = Bench()
    bench.passes(3, "ab")
    bench.hear("b", **FAILS, boot="2")
    assert bench.judge() == [MarkNode("b", "1", Mark.DOWN)]


def test_who_is_held_back_is_told_and_not_asked_for() -> None:
    bench = Bench(cluster(node("a"), node("b", state=State.DOWN), node("c")))
    bench.placement = msgspec.structs.replace(bench.placement, held=Brakes(is_paused=True))
    assert bench.passes(617, "ac") == []
    assert bench.liveness.warnings(bench.placement) == {
        ("b", "held back"): "it is down for long, and its groups stay where they are: the cluster is paused"
    }
    bench.placement = msgspec.structs.replace(bench.placement, held=Brakes())
    assert bench.first(1, "ac") == (618, MarkNode("b", "1", Mark.OUT))


@pytest.mark.parametrize(("known", "said", "mark"), [(False, True, Mark.FULL), (True, False, Mark.WRITABLE)])
def test_a_disk_that_is_full_or_has_room_again_is_marked(known: bool, said: bool, mark: Mark) -> None:
    bench = Bench(cluster(node("b", is_full=known)))
    bench.hear("b", is_full=said)
    assert bench.judge() == [MarkNode("b", "1", mark)]
    bench.hear("b", is_full=known)
    assert bench.judge() == []


GROUP = Group(["a", "b"], ["b", "c"])
TRIMS: list[tuple[str, dict[str, dict[int, int]], dict[int, int]]] = [
    ("all members told", {"a": {0: 5}, "b": {0: 7}, "c": {0: 9}}, {0: 5}),
    ("a target was never heard", {"b": {0: 7}, "c": {0: 9}}, {}),
    ("who still holds it was never heard", {"a": {0: 5}, "b": {0: 7}}, {}),
    ("a member has not begun", {"a": {}, "b": {0: 7}, "c": {0: 9}}, {}),
    ("a member has nothing", {"a": {0: 0}, "b": {0: 7}, "c": {0: 9}}, {}),
    ("who is no member says nothing of it", {"a": {0: 5}, "b": {0: 7}, "c": {0: 9}, "d": {0: 1}}, {0: 5}),
    ("nobody is there", {}, {}),
]


@pytest.mark.parametrize(("told", "found"), [row[1:] for row in TRIMS], ids=[row[0] for row in TRIMS])
def test_writes_are_trimmed_below_what_every_member_has(told: dict[str, dict[int, int]], found: dict[int, int]) -> None:
    assert trimmable(cluster(groups=[GROUP, Group()]), told) == found


def test_writes_are_trimmed_below_what_the_latest_heartbeats_say() -> None:
    bench = Bench(cluster(node("a"), node("b"), groups=[Group(["a", "b"], ["a", "b"])]))
    bench.hear("a", positions={0: 5})
    assert bench.liveness.trimmable(bench.placement) == {}
    bench.hear("b", positions={0: 9})
    bench.hear("a", positions={0: 7})
    assert bench.liveness.trimmable(bench.placement) == {0: 7}


def test_a_later_process_is_registered_though_the_former_one_is_always_heard_last() -> None:
    bench = Bench()
    bench.passes(3, well="ab")
    bench.second += 1
    bench.hear("b", boot="2", endpoint="http://later")
    bench.hear("b")
    assert [body.boot for body in bench.judge() if isinstance(body, commands.RegisterNode)] == ["2"]


def test_what_was_heard_of_a_process_before_it_was_replaced_is_overwritten() -> None:
    earlier = Bench(cluster(node("b", boot="0")))
    heard = {"b": Heard(earlier._now, beat("b", earlier._now, boot="0"))}
    bench = Bench(cluster(node("b")))
    bench.liveness = Liveness("cluster", Limits(GRACE, OUT), heard)
    bench.hear("b")
    assert heard["b"].beat.boot == "1"
    assert bench.judge() == []
