"""Which group takes a payload: by who has room, who is up, and what failed lately."""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from datanode.node import NoNode, NoRoom
from datanode.routing import Routes
from tests.datanode.bench import OWN, Bench, bench
from topics.placement import Group

NODES = (OWN, "p", "q", "r")
ALL_OF_4 = [Group([each for each in NODES if each != left_out], []) for left_out in NODES]  # 3 copies on 4 nodes


def chosen(made: Bench, *, large: bool, suspects: Sequence[str] = (), times: int = 200) -> set[int]:
    """The groups that payloads went to."""
    found = Counter[int]()
    for seed in range(times):
        routes = Routes(made.map, made.peers, random.Random(seed))
        for name in suspects:
            routes.suspect(name)
        found[routes.group_for_large({})[0] if large else routes.group_for_small()] += 1
    return set(found)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("full", "down", "groups"),
    [
        ("", "", {0, 1, 2, 3}),
        ("p", "", {1}),  # the only one without it
        ("pq", "", {1, 2}),  # each of them has one full target and a quorum of others
        ("", "p", {1}),
        ("p", "q", {1}),  # who is down gets it later from the log; who is full does not
    ],
)
def test_full_nodes_take_nothing_while_there_are_others(large: bool, full: str, down: str, groups: set[int]) -> None:
    async def case(made: Bench) -> None:
        made.place(groups=ALL_OF_4, full=list(full), down=list(down))
        assert chosen(made, large=large) == groups

    bench(case)


def test_where_full_disks_leave_no_quorum_nothing_is_put_into_the_log() -> None:
    async def case(made: Bench) -> None:
        made.place(groups=ALL_OF_4, full=["p", "q", "r"])
        assert chosen(made, large=True) == {1, 2, 3}  # its leader will tell
        with pytest.raises(NoRoom, match="full disks"):
            chosen(made, large=False)
        made.place(groups=ALL_OF_4, down=["p", "q", "r"])  # who is down takes it from the log when it is back
        assert chosen(made, large=False) == {1, 2, 3}
        made.place(groups=[Group([OWN])] * 4, full=[OWN])  # nor is a quorum of them left to come back
        with pytest.raises(NoRoom):
            chosen(made, large=False)
        made.place(groups=[Group([OWN])] * 4, copies=1, full=[OWN])
        with pytest.raises(NoRoom):
            chosen(made, large=False)

    bench(case)


def test_a_large_payload_goes_around_suspects_and_yet_to_no_full_node() -> None:
    async def case(made: Bench) -> None:
        made.place(groups=ALL_OF_4)
        assert chosen(made, large=True, suspects="q") == {2}
        made.place(groups=ALL_OF_4, full="p")
        assert chosen(made, large=True, suspects="q") == {1}

    bench(case)


def test_without_any_target_there_is_no_choice() -> None:
    async def case(made: Bench) -> None:
        made.place([], [])
        with pytest.raises(NoNode, match="no data node is there"):
            Routes(made.map, made.peers, random.Random(0)).group_for_small()

    bench(case)
