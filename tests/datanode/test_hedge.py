"""Reads that are asked of more than one node: whose answer counts, who is suspected, and what it is when nobody has it."""

import asyncio
import random

import pytest

from datanode.hedge import HEDGE_S, READ_S, first_answer
from datanode.node import BlobUnavailable, NoNode
from datanode.routing import SUSPECT_S, Routes
from tests.datanode.bench import OTHERS, Bench, bench, ref


def routes(made: Bench) -> Routes:
    made.place(OTHERS, OTHERS)
    for name in OTHERS:
        made.peers[name].has(ref(1), name.encode())
    return Routes(made.map, made.peers, random.Random(0))


async def read(way: Routes, names: str = "pqr") -> str:
    return (await first_answer(way, names, ref(1), 0, 1, -1)).decode()


def suspects(way: Routes) -> str:
    return "".join(name for name in OTHERS if way.is_suspect(name))


def test_a_node_that_answers_in_time_is_the_only_one_asked() -> None:
    async def case(made: Bench) -> None:
        way = routes(made)
        made.peers["p"].slow_s = HEDGE_S * 0.9
        assert (await read(way), suspects(way), made.peers["q"].asked) == ("p", "", [])

    bench(case)


def test_after_a_moment_the_next_is_asked_as_well_and_the_slow_one_is_suspected() -> None:
    async def case(made: Bench) -> None:
        way = routes(made)
        made.peers["p"].slow_s = 5
        started = asyncio.get_running_loop().time()
        assert (await read(way), suspects(way)) == ("q", "p")
        assert asyncio.get_running_loop().time() - started < HEDGE_S + 0.1
        await asyncio.sleep(SUSPECT_S + 1)
        assert suspects(way) == ""

    bench(case)


def test_who_was_asked_after_the_one_that_answered_is_not_slow() -> None:
    async def case(made: Bench) -> None:
        way = routes(made)
        made.peers["p"].slow_s = HEDGE_S + 0.05
        made.peers["q"].slow_s = 0.1
        assert (await read(way), suspects(way)) == ("p", "")

    bench(case)


@pytest.mark.parametrize(("trouble", "suspected"), [("dead", "p"), ("late", "p"), ("damaged", "")])
def test_where_the_first_cannot_give_it_the_next_is_asked_at_once(trouble: str, suspected: str) -> None:
    async def case(made: Bench) -> None:
        way = routes(made)
        made.peers["p"].is_dead = trouble == "dead"
        made.peers["p"].late = {ref(1).blob} if trouble == "late" else set()
        made.peers["p"].damaged = {ref(1).blob} if trouble == "damaged" else set()
        started = asyncio.get_running_loop().time()
        assert (await read(way), suspects(way)) == ("q", suspected)
        assert asyncio.get_running_loop().time() - started < 0.1

    bench(case)


def test_a_blob_is_gone_only_where_every_node_says_so() -> None:
    async def case(made: Bench) -> None:
        way = routes(made)
        for name in OTHERS:
            made.peers[name].held.clear()
        with pytest.raises(BlobUnavailable, match="not on r"):
            await read(way)
        made.peers["q"].is_dead = True
        with pytest.raises(NoNode, match="no data node gave"):
            await read(way)

    bench(case)


def test_when_all_are_silent_it_ends() -> None:
    async def case(made: Bench) -> None:
        way = routes(made)
        for name in OTHERS:
            made.peers[name].slow_s = 1_000
        started = asyncio.get_running_loop().time()
        with pytest.raises(NoNode, match="in 10"):
            await read(way)
        assert READ_S <= asyncio.get_running_loop().time() - started < READ_S + 1

    bench(case)


@pytest.mark.parametrize("seed", range(5))
def test_answers_that_come_at_once_leave_nothing_behind(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Bench) -> None:
        way = routes(made)
        made.peers["p"].slow_s, made.peers["q"].slow_s, made.peers["r"].slow_s = 2 * HEDGE_S + 0.1, HEDGE_S + 0.1, 0.1
        made.peers["q"].is_dead = True
        assert await read(way) in "pr"

    bench(case, seed)
    assert "never retrieved" not in caplog.text


def test_readers_are_the_holders_in_turn_then_who_copies_and_last_who_may_not_answer() -> None:
    async def case(made: Bench) -> None:
        made.place(["own", "p"], ["p", "q"])
        way = Routes(made.map, made.peers, random.Random(0))
        assert [way.readers(ref(number)) for number in (2, 3)] == [["p", "q", "own"], ["q", "p", "own"]]
        made.place(["own", "p"], ["p", "q"], down="p")
        assert way.readers(ref(2)) == ["q", "own", "p"]
        way.suspect("q")
        assert way.readers(ref(2)) == ["own", "p", "q"]
        with pytest.raises(NoNode, match="replication group 1"):
            way.readers(ref(2, group=1))

    bench(case)


def test_hedges_are_a_tenth_of_all_reads_where_every_node_is_slow() -> None:
    async def case(made: Bench) -> None:
        way = routes(made)
        for name in OTHERS:
            made.peers[name].slow_s = 0.5
        for _ in range(50):
            await asyncio.gather(*(read(way) for _ in range(20)))
        asked = sum(len(made.peers[name].asked) for name in OTHERS)
        assert 1_000 + 100 <= asked <= 1_000 + 100 + 20  # it was three times as many

    bench(case)


def test_without_budget_a_node_that_is_as_good_as_gone_is_left_after_a_second() -> None:
    async def case(made: Bench) -> None:
        way = routes(made)
        while way.hedges.take():
            pass
        made.peers["p"].slow_s = 30
        started = asyncio.get_running_loop().time()
        assert await read(way) == "q"
        assert 1.0 <= asyncio.get_running_loop().time() - started < 1.1

    bench(case)
