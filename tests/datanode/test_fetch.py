"""Blobs from peers: whom a node asks, in which order, what it makes of bad answers, and how fast it takes them."""

import asyncio
from collections.abc import Sequence

import pytest
from awscrt.checksums import crc32c

from datanode.fetch import WINDOW_BYTES, Fetch, Wanted
from datanode.node import BlobUnavailable
from datanode.store import NewBlob
from tests.datanode.bench import OWN, PARTITION, Bench, bench, ref
from tests.datanode.stores import blob, names, put_all

DATA = bytes(range(256)) * 10_000  # three windows


def wanted(number: int = 1, *holders: str, length: int = len(DATA)) -> Wanted:
    return Wanted(0, blob(number), PARTITION, length, holders)


def placed(made: Bench, down: str = "") -> None:
    made.place([OWN, "p", "q", "r"], [], down=down)


def asked(made: Bench) -> str:
    """The names of those that were asked for anything."""
    return " ".join(name for name, peer in made.peers.all.items() if peer.asked)


def test_a_blob_comes_whole_with_its_partition() -> None:
    async def case(made: Bench) -> None:
        placed(made)
        made.peers["p"].has(ref(1), DATA)
        await made.fetch.get(wanted(1, "p"), ["q"])
        assert await made.has(1, DATA)
        assert [held.partition for held in made.store.blobs(0)] == [PARTITION]
        assert (asked(made), made.fetch.fetched_bytes) == ("p", len(DATA))

    bench(case)


@pytest.mark.parametrize(
    ("holders", "sources", "down", "has", "found"),
    [
        ("qp", "r", "", "pqr", "q"),  # who is known to have it, first
        ("q", "pr", "", "pr", "p q"),  # then who may have it
        ("q", "pr", "q", "pqr", "p"),  # who is up before who is down
        ("q", "", "q", "q", "q"),  # who is down may answer all the same
        ("", "pq", "", "q", "p q"),
    ],
)
def test_whom_it_asks(holders: str, sources: str, down: str, has: str, found: str) -> None:
    async def case(made: Bench) -> None:
        placed(made, down)
        for name in has:
            made.peers[name].has(ref(1), DATA)
        await made.fetch.get(wanted(1, OWN, *holders), [OWN, *sources])
        assert (asked(made), await made.has(1, DATA)) == (found, True)

    bench(case)


@pytest.mark.parametrize("trouble", ["dead", "damaged", "late", "shorter", "breaks off"])
def test_after_a_source_that_gives_nothing_good_the_next_is_asked(trouble: str) -> None:
    async def case(made: Bench) -> None:
        placed(made)
        made.peers["p"].has(ref(1), DATA[:-1] if trouble == "shorter" else DATA)
        made.peers["q"].has(ref(1), DATA)
        made.peers["p"].is_dead = trouble == "dead"
        made.peers["p"].damaged = {blob(1)} if trouble == "damaged" else set()
        made.peers["p"].late = {blob(1)} if trouble == "late" else set()
        made.peers["p"].breaks_at = 2 * WINDOW_BYTES if trouble == "breaks off" else 1 << 60
        await made.fetch.get(wanted(1, "p", "q"), [])
        assert (names(made.store), await made.has(1, DATA)) == ([blob(1)], True)

    bench(case)


def test_where_every_source_says_that_it_has_none_it_is_unavailable() -> None:
    async def case(made: Bench) -> None:
        placed(made)
        with pytest.raises(BlobUnavailable, match="not on q"):
            await made.fetch.get(wanted(1, "p", "q"), [])
        with pytest.raises(BlobUnavailable, match="no other node"):
            await made.fetch.get(wanted(1, OWN), [OWN])
        assert names(made.store) == []

    bench(case)


@pytest.mark.parametrize("dead", ["p", "q"])
def test_where_one_source_could_not_be_asked_it_may_have_it(dead: str) -> None:
    async def case(made: Bench) -> None:
        placed(made)
        made.peers[dead].is_dead = True
        with pytest.raises(OSError, match=f"{dead} is gone"):
            await made.fetch.get(wanted(1, "p", "q"), [])

    bench(case)


def test_a_blob_that_is_here_or_on_its_way_is_no_failure() -> None:
    async def case(made: Bench) -> None:
        placed(made)
        made.peers["p"].has(ref(1), DATA)
        writer = made.store.create(0, blob(1), PARTITION, len(DATA))
        await made.fetch.get(wanted(1, "p"), [])
        await writer.write(DATA)
        await writer.commit()
        await made.fetch.get(wanted(1, "p"), [])
        assert await made.has(1, DATA)

    bench(case)


def test_a_blob_that_is_released_while_it_comes_does_not_stay() -> None:
    async def case(made: Bench) -> None:
        placed(made)
        made.peers["p"].has(ref(1), DATA)
        made.peers["p"].slow_s = 1
        getting = asyncio.create_task(made.fetch.get(wanted(1, "p"), []))
        await asyncio.sleep(1.5)
        assert made.store.is_arriving(0, blob(1))
        made.store.release(0, [blob(1)])
        await getting
        assert names(made.store) == []

    bench(case)


def test_a_damaged_blob_is_replaced() -> None:
    async def case(made: Bench) -> None:
        placed(made)
        made.peers["p"].has(ref(1), DATA)
        await made.fetch.get(wanted(1, "p"), [])
        made.damage()
        await made.fetch.get(wanted(1, "p"), [], replace=True)
        assert (names(made.store), await made.has(1, DATA)) == ([blob(1)], True)

    bench(case)


def test_a_damaged_blob_that_is_released_before_its_first_bytes_come_stays_so() -> None:
    async def case(made: Bench) -> None:
        placed(made)
        made.peers["p"].has(ref(1), DATA)
        await made.fetch.get(wanted(1, "p"), [])
        made.peers["p"].slow_s = 1
        getting = asyncio.create_task(made.fetch.get(wanted(1, "p"), [], replace=True))
        await asyncio.sleep(0.5)
        made.store.release(0, [blob(1)])
        await getting
        assert names(made.store) == []

    bench(case)


def test_nothing_comes_faster_than_allowed() -> None:
    async def case(made: Bench) -> None:
        placed(made)
        loop = asyncio.get_running_loop()
        slow = Fetch(made.store, OWN, made.map, made.peers, 10e6)
        for number in range(40):
            made.peers["p"].has(ref(number), bytes(1_000_000 if number % 2 else 50_000))
        wanteds = [wanted(number, "p", length=1_000_000 if number % 2 else 50_000) for number in range(40)]
        started = loop.time()
        assert await slow.get_all(wanteds, ["p"]) == []
        assert 1.0 < loop.time() - started < 1.3  # 21 MB, the first second's worth at once

    bench(case)


def small(*numbers: int) -> list[Wanted]:
    return [Wanted(0, blob(number), PARTITION, 9, (), crc32c(b"data %04d" % number)) for number in numbers]


def give(made: Bench, name: str, *numbers: int) -> None:
    for number in numbers:
        made.peers[name].has(ref(number), b"data %04d" % number)


def test_small_blobs_come_many_with_each_answer_and_are_put_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(made: Bench) -> None:
        placed(made)
        puts, honest = list[int](), made.store.put_all

        async def put_all(blobs: Sequence[NewBlob]) -> None:
            puts.append(len(blobs))
            await honest(blobs)

        monkeypatch.setattr(made.store, "put_all", put_all)
        give(made, "p", *range(600))
        assert await made.fetch.get_all(small(*range(600)), ["p", "q"]) == []
        assert (made.peers["p"].asked, puts) == (["pieces"] * 3, [250, 250, 100])
        assert (len(names(made.store)), made.fetch.fetched_blobs) == (600, 600)
        assert await made.has(599, b"data 0599")

    bench(case)


def test_what_one_source_does_not_give_the_next_is_asked_for_and_nothing_else() -> None:
    async def case(made: Bench) -> None:
        placed(made)
        give(made, "p", 1, 2, 3)
        give(made, "q", 2, 3, 4)
        made.peers["p"].damaged = {blob(2)}
        made.peers["p"].late = {blob(3)}
        assert await made.fetch.get_all(small(1, 2, 3, 4), ["p", "q"]) == []
        assert made.peers["q"].given == [blob(2), blob(3), blob(4)]
        assert names(made.store) == [blob(1), blob(2), blob(3), blob(4)]

    bench(case)


def test_what_of_a_page_nobody_gives_is_told_and_all_else_is_taken() -> None:
    async def case(made: Bench) -> None:
        placed(made)
        give(made, "p", 1)
        made.peers["p"].late = {blob(3)}
        found = await made.fetch.get_all(small(1, 2, 3), ["p", "q"])
        assert [(type(each), str(each)) for each in found] == [
            (BlobUnavailable, "not on q"),
            (OSError, "it may still come"),
        ]
        made.peers["q"].is_dead = True
        assert [type(each) for each in await made.fetch.get_all(small(2), ["p", "q"])] == [OSError]
        assert names(made.store) == [blob(1)]

    bench(case)


def test_a_small_blob_with_other_bytes_is_replaced() -> None:
    async def case(made: Bench) -> None:
        placed(made)
        give(made, "p", 1, 2)
        put_all(made.store, [NewBlob(0, blob(1), PARTITION, b"DATA 0001")])
        assert await made.fetch.lacking(small(1, 2)) == small(1, 2)
        assert await made.fetch.get_all(small(1, 2), ["p"]) == []
        assert await made.has(1, b"data 0001")
        assert await made.fetch.lacking(small(1, 2)) == []

    bench(case)
