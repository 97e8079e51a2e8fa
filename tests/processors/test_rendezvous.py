"""Where groups go: what holds for any set of nodes, and how evenly many groups lie on a few."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processors.machine.rendezvous import targets
from topics.placement import Node, State

TB = 1 << 40


def node(name: str, size: int = TB, domain: str = "", state: State = State.UP, **flags: Any) -> Node:
    return Node(name, "", "", "", domain or name, size, state, **flags)


NAMES = st.sampled_from([f"n{number}" for number in range(12)])
CANDIDATES = st.builds(
    node,
    NAMES,
    st.integers(0, 3).map(lambda size: size * TB),
    st.sampled_from("xyz"),
    st.sampled_from([State.UP, State.DOWN]),
)
ANY = st.one_of(
    CANDIDATES, st.builds(node, NAMES, state=st.just(State.OUT)), st.builds(node, NAMES, is_draining=st.just(True))
)
GROUPS, COPIES = st.integers(0, 63), st.integers(1, 7)


def several(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[list[Node]]:
    return st.lists(nodes, max_size=12, unique_by=lambda each: each.name)


@given(several(ANY), st.randoms(), GROUPS, COPIES)
def test_the_order_in_which_nodes_are_known_changes_nothing(
    nodes: list[Node], rng: object, group: int, copies: int
) -> None:
    assert targets(nodes[::-1], group, copies) == targets(nodes, group, copies)


@given(several(ANY), GROUPS, COPIES)
def test_as_many_copies_as_can_be_each_on_a_node_of_its_own(nodes: list[Node], group: int, copies: int) -> None:
    candidates = {each.name for each in nodes if each.state is not State.OUT and not each.is_draining}
    found = targets(nodes, group, copies)
    assert len(set(found)) == len(found) == min(copies, len(candidates))
    assert set(found) <= candidates


@given(several(CANDIDATES), GROUPS, COPIES)
def test_copies_are_in_as_many_domains_as_can_be(nodes: list[Node], group: int, copies: int) -> None:
    domains = {each.name: each.domain for each in nodes}
    found = {domains[name] for name in targets(nodes, group, copies)}
    assert len(found) == min(copies, len(set(domains.values())))


@given(several(CANDIDATES), CANDIDATES, GROUPS, COPIES)
def test_a_node_that_joins_or_leaves_moves_only_what_it_gets_or_had(
    nodes: list[Node], joining: Node, group: int, copies: int
) -> None:
    others = [each for each in nodes if each.name != joining.name]
    before, after = targets(others, group, copies), targets([*others, joining], group, copies)
    if joining.name in after:
        assert len(set(before) - set(after)) == len(set(after) - set(before) - {joining.name}) + (len(before) == copies)
        assert len(set(before) - set(after)) <= 1
    else:
        assert after == before


def test_a_full_node_keeps_what_it_holds_and_is_given_nothing_else() -> None:
    nodes = [node(name, is_full=name == "b") for name in "abcdefgh"]
    assert targets(nodes, 0, 3, ["b", "a", "g"]) == ["b", "a", "g"]
    assert targets(nodes, 0, 3, ["a", "g"]) == ["a", "g", "e"]
    assert targets([node("a", is_full=True), node("b", is_full=True)], 0, 2, ["a"]) == ["a"]


def test_an_order_that_an_earlier_release_chose_stays() -> None:
    """Another order would be no error, and would move data in every cluster."""
    nodes = [node(name) for name in "abcdefgh"]
    assert targets(nodes, 0, 8) == ["b", "a", "g", "e", "c", "h", "f", "d"]
    assert targets([*nodes, node("i", 8 * TB)], 0, 3) == ["i", "b", "a"]


def test_nodes_get_groups_by_their_sizes() -> None:
    nodes = [node(f"small-{number}") for number in range(4)] + [node(f"large-{number}", 2 * TB) for number in range(4)]
    leads = Counter(name for group in range(6_000) for name in targets(nodes, group, 1))
    for each in nodes:
        assert abs(leads[each.name] / 6_000 - each.capacity_bytes / (12 * TB)) < 0.015, each.name


def test_no_node_has_far_more_than_its_share_of_the_groups_there_are() -> None:
    nodes = [node(f"node-{number}") for number in range(6)]
    copies = Counter(name for group in range(64) for name in targets(nodes, group, 3))
    assert max(copies.values()) <= 1.4 * 64 * 3 / 6
