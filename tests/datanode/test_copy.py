"""A group's blobs from those who have all of them: what a new member gets, and when it does not count itself as done."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from datanode import fetch
from datanode.copy import GroupCopy
from datanode.node import BlobRef
from datanode.replica import GroupReplica
from datanode.store import NewBlob
from datanode.turns import Turns
from tests.datanode.bench import OWN, Bench, bench, payload, ref, release
from tests.datanode.stores import blob, names, put_all
from topics import writes
from topics.log import Entry
from topics.placement import Group
from topics.spec import TopicPartition

AT = TopicPartition("writes", 0)


@asynccontextmanager
async def copying(made: Bench, holders: Sequence[str] = "pq") -> AsyncIterator[tuple[GroupCopy, GroupReplica]]:
    made.place([OWN, *holders], list(holders))
    replica = GroupReplica(made.log, made.store, 0, made.fetch, lambda: list(holders), lambda: None)
    running = asyncio.create_task(replica.run())
    yield GroupCopy(replica, made.store, made.fetch, made.map, made.peers, lambda: list(holders)), replica
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def hold(made: Bench, name: str, *numbers: int) -> None:
    for number in numbers:
        made.peers[name].has(ref(number), b"data of %d" % number)


def test_all_pages_are_taken() -> None:
    async def case(made: Bench) -> None:
        made.peers["p"].page = 10
        hold(made, "p", *range(1, 36))
        async with copying(made) as (copy, _):
            await copy.run()
            assert names(made.store) == [blob(number) for number in range(1, 36)]
            assert (await made.has(35, b"data of 35"), copy.remaining) == (True, 0)
            assert made.peers["q"].given == []

    bench(case)


def test_what_one_holder_has_lost_and_another_has_is_taken() -> None:
    """Whoever has it still may leave the group for the new member."""

    async def case(made: Bench) -> None:
        made.peers["p"].page, made.peers["q"].page = 2, 3
        hold(made, "p", 1, 2, 4, 5, 7)
        hold(made, "q", 2, 3, 6, 8, 9)
        async with copying(made) as (copy, _):
            await copy.run()
            assert names(made.store) == [blob(number) for number in range(1, 10)]

    bench(case)


def test_a_copy_that_was_broken_off_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "PAGE_BLOBS", 4)

    async def case(made: Bench) -> None:
        hold(made, "p", *range(1, 31))
        made.peers["p"].slow_s = 0.1
        async with copying(made) as (copy, _):
            first = asyncio.create_task(copy.run())
            await asyncio.sleep(0.35)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            taken = len(names(made.store))
            assert 0 < taken < 30
            made.peers["p"].given.clear()
            await copy.run()
            assert len(names(made.store)) == 30
            assert len(made.peers["p"].given) == 30 - taken

    bench(case)


def test_the_group_with_the_fewest_holders_left_is_copied_first() -> None:
    async def case(made: Bench) -> None:
        made.fetch.copies = Turns(1)
        groups = [Group([OWN, "p", "q", "r"], list(held)) for held in ("pqr", "pq", "pr", "p")]
        made.place(groups=groups, down="q")
        made.peers["p"].slow_s = 1
        copies = list[asyncio.Task[None]]()
        running = list[asyncio.Task[None]]()
        for number, group in enumerate(groups):
            made.peers["p"].has(BlobRef(number, blob(number), 3), b"data")
            replica = GroupReplica(made.log, made.store, number, made.fetch, list, lambda: None)
            held = lambda group=group: list(group.holders or ())  # noqa: E731
            copy = GroupCopy(replica, made.store, made.fetch, made.map, made.peers, held)
            running.append(asyncio.create_task(replica.run()))
            copies.append(asyncio.create_task(copy.run()))
            await asyncio.sleep(0.1)
        await asyncio.gather(*copies)
        assert made.peers["p"].given == [blob(number) for number in (0, 1, 3, 2)]  # the first was alone; q is down
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    bench(case)


def test_the_next_holder_is_asked_where_one_cannot_be() -> None:
    async def case(made: Bench) -> None:
        made.peers["p"].is_dead = True
        hold(made, "q", 1, 2)
        async with copying(made) as (copy, _):
            await copy.run()
            assert names(made.store) == [blob(1), blob(2)]

    bench(case)


@pytest.mark.parametrize("holders", ["p", ""])
def test_without_a_holder_it_is_not_done(holders: str) -> None:
    async def case(made: Bench) -> None:
        made.peers["p"].is_dead = True
        async with copying(made, holders) as (copy, _):
            with pytest.raises(OSError, match=r"gone|no node that has all of it"):
                await copy.run()

    bench(case)


def test_one_blob_that_cannot_be_had_now_keeps_it_from_being_done_and_nothing_else() -> None:
    async def case(made: Bench) -> None:
        hold(made, "p", 1, 2, 3)
        made.peers["p"].late = {blob(2)}
        async with copying(made, "p") as (copy, _):
            with pytest.raises(OSError, match="may still come"):
                await copy.run()
            assert names(made.store) == [blob(1), blob(3)]
            made.peers["p"].late.clear()
            await copy.run()
            assert names(made.store) == [blob(1), blob(2), blob(3)]

    bench(case)


def test_a_blob_that_was_released_meanwhile_is_passed_over() -> None:
    async def case(made: Bench) -> None:
        hold(made, "p", 1, 2)
        hold(made, "q", 1)
        made.peers["p"].damaged = {blob(2)}  # listed, and gone when it is asked for
        async with copying(made) as (copy, _):
            await copy.run()
            assert names(made.store) == [blob(1)]

    bench(case)


def test_what_was_released_in_the_log_before_it_came_does_not_stay_for_long() -> None:
    """Nothing tells a copy of it: the sweep for orphans does, later."""

    async def case(made: Bench) -> None:
        await made.writes(payload(1, b"data of 1"), release(1))
        hold(made, "p", 1)
        async with copying(made) as (copy, replica):
            await replica.reached(1)
            await copy.run()
            assert names(made.store) == [blob(1)]

    bench(case)


def test_what_the_log_lost_under_the_replica_is_copied_too() -> None:
    async def case(made: Bench) -> None:
        hold(made, "p", 2)
        made.peers["p"].slow_s = 1
        async with copying(made, "p") as (copy, replica):
            running = asyncio.create_task(copy.run())
            await asyncio.sleep(2.5)  # the last page was listed
            hold(made, "p", 1)  # by the log, which is trimmed before it is read here
            made.log.land(AT, [Entry(blob(1), writes.payload(3, b"data of 1"))])
            await made.log.trim(AT, 1)
            await running
            assert replica.begins == 1
            assert names(made.store) == [blob(1), blob(2)]

    bench(case)


def test_what_came_damaged_ahead_of_a_claim_that_was_missed_is_fetched_anew() -> None:
    async def case(made: Bench) -> None:
        hold(made, "p", 1, 2)
        for number, data in ((1, b"data of 1"), (2, b"DATA of 2")):
            put_all(made.store, [NewBlob(0, blob(number), 3, data)])
        async with copying(made) as (copy, _):
            await copy.run()
            assert await made.has(2, b"data of 2")
            assert made.peers["p"].given.count(blob(2)) == len(made.peers["p"].given) == 1

    bench(case)
