"""One group on one node: what it takes from the log, what it fetches, what it forgets, and how far it is."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from datanode.replica import SLICE_BYTES, GroupReplica
from datanode.store import NewBlob
from tests.datanode.bench import OWN, PARTITION, Bench, bench, claim, payload, ref, release
from tests.datanode.stores import blob, names, put
from topics.disk import LATE_S
from topics.log import UnknownRecord
from topics.spec import TopicPartition

AT = TopicPartition("writes", 0)

CLAIM_COSTS = 3  # times that the disk is waited for: to write it, to sync it, to compare it


@asynccontextmanager
async def following(made: Bench, gaps: list[int] | None = None) -> AsyncIterator[GroupReplica]:
    found = [] if gaps is None else gaps
    replica = GroupReplica(made.log, made.store, 0, made.fetch, lambda: ["p"], lambda: found.append(1))
    running = asyncio.create_task(replica.run())
    await replica.started()
    yield replica
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_payload_is_in_the_volumes_with_its_partition() -> None:
    async def case(made: Bench) -> None:
        async with following(made) as replica:
            end = await made.writes(payload(1, b"one"), payload(2, b"two"))
            await replica.reached(end - 1)
            assert [await made.has(1, b"one"), await made.has(2, b"two")] == [True, True]
            assert {held.partition for held in made.store.blobs(0)} == {PARTITION}
            assert (replica.position, replica.settled, replica.wanted) == (2, 2, 0)

    bench(case)


def test_very_many_blobs_that_are_to_be_fetched_are_asked_for_a_few_at_a_time() -> None:
    async def case(made: Bench) -> None:
        made.place(["p", OWN])
        made.peers["p"].slow_s = 0.01
        async with following(made) as replica:
            for number in range(2_000):
                made.peers["p"].has(ref(number), b"data")
            end = await made.writes(*(claim(number, b"data", "p") for number in range(2_000)))
            await replica.reached(end - 1)
            most = 0
            while replica.wanted > 1_000:
                most = max(most, len(asyncio.all_tasks()))
                await asyncio.sleep(0.1)
            assert most < 20

    bench(case)


@pytest.mark.parametrize("together", [True, False])
def test_a_release_takes_the_payload_away(together: bool) -> None:
    async def case(made: Bench) -> None:
        async with following(made) as replica:
            if together:
                end = await made.writes(payload(1, b"one"), payload(2, b"two"), release(1))
            else:
                await replica.reached(await made.writes(payload(1, b"one"), payload(2, b"two")) - 1)
                end = await made.writes(release(1))
            await replica.reached(end - 1)
            assert names(made.store) == [blob(2)]

    bench(case)


def test_a_claim_check_for_a_blob_that_is_here_asks_nobody() -> None:
    async def case(made: Bench) -> None:
        made.place(["p", OWN])
        writer = made.store.create(0, blob(1), PARTITION, 3)
        await writer.write(b"one")
        await writer.commit()
        async with following(made) as replica:
            await replica.reached(await made.writes(claim(1, b"one", "p", OWN)) - 1)
            assert (replica.settled, made.peers["p"].asked) == (1, [])

    bench(case)


def test_a_claim_check_for_another_blob_is_fetched_and_holds_the_position_back_until_then() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p", "q"])
        made.peers["q"].slow_s = 1.0
        made.peers["q"].has(ref(1), b"large")
        async with following(made) as replica:
            await replica.reached(await made.writes(payload(2, b"two"), claim(1, b"large", "q"), payload(3, b"three")) - 1)
            assert (replica.position, replica.settled, replica.wanted, replica.wants(blob(1))) == (3, 1, 1, True)
            await asyncio.sleep(3)
            assert await made.has(1, b"large")
            assert (replica.settled, replica.wanted) == (3, 0)

    bench(case)


def test_what_no_holder_can_give_now_is_fetched_later() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p", "q"])
        made.peers["q"].is_dead = True
        async with following(made) as replica:
            await made.writes(claim(1, b"large", "q"))
            await asyncio.sleep(5)
            assert replica.wanted == 1
            made.peers["p"].has(ref(1), b"large")  # a peer that no claim check names
            await asyncio.sleep(1)
            assert await made.has(1, b"large")

    bench(case)


@pytest.mark.parametrize("seed", range(10))
def test_a_release_ends_the_fetch_whenever_it_comes(seed: int) -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p", "q"])
        made.peers["q"].slow_s = 0.003
        for number in range(1, 20):
            made.peers["q"].has(ref(number), b"large")
        async with following(made) as replica:
            for number in range(1, 20):
                await made.writes(claim(number, b"large", "q"))
                for _ in range(number):
                    await asyncio.sleep(0)
                await made.writes(release(number))
            await made.writes(claim(20, b"large", "p"))
            made.peers["p"].has(ref(20), b"large")
            await asyncio.sleep(2)
            assert names(made.store) == [blob(20)]
            assert replica.wanted == 0

    bench(case, seed)


def test_a_blob_that_is_arriving_is_waited_for() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"])
        made.peers["p"].has(ref(1), b"large")
        writer = made.store.create(0, blob(1), PARTITION, 5)
        async with following(made) as replica:
            await made.writes(claim(1, b"large", "p"))
            await asyncio.sleep(1)
            assert (replica.wanted, made.peers["p"].asked) == (1, [])
            await writer.write(b"large")
            await writer.commit()
            await asyncio.sleep(1)
            assert (replica.wanted, made.peers["p"].asked) == (0, [])

    bench(case)


def test_payloads_that_a_full_disk_refuses_are_taken_from_the_log_when_there_is_room() -> None:
    async def case(made: Bench) -> None:
        async with following(made) as replica:
            await replica.reached(await made.writes(payload(1, b"one")) - 1)
            made.fill()
            await replica.reached(await made.writes(payload(2, b"two"), payload(3, b"three"), payload(4, b"four")) - 1)
            await replica.reached(await made.writes(release(3)) - 1)
            await asyncio.sleep(5)
            assert (names(made.store), replica.position, replica.settled) == ([blob(1)], 5, 1)
            made.fill(1 << 20)
            await asyncio.sleep(1)
            assert [await made.has(2, b"two"), await made.has(4, b"four")] == [True, True]
            assert (names(made.store), replica.settled) == ([blob(1), blob(2), blob(4)], 5)

    bench(case)


def test_a_full_disk_asks_peers_for_nothing_until_there_is_room() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"])
        made.peers["p"].has(ref(1), b"large")
        made.fill()
        async with following(made) as replica:
            await made.writes(claim(1, b"large", "p"))
            await asyncio.sleep(5)
            assert (replica.wanted, made.peers["p"].asked) == (1, [])
            made.fill(1 << 20)
            await asyncio.sleep(1)
            assert (replica.wanted, await made.has(1, b"large")) == (0, True)

    bench(case)


def test_a_start_begins_where_the_volumes_are_complete() -> None:
    async def case(made: Bench) -> None:
        await made.writes(payload(1, b"one"), payload(2, b"two"))
        await made.store.sync({0: 1})
        gaps: list[int] = []
        async with following(made, gaps) as replica:
            await replica.reached(1)
            assert names(made.store) == [blob(2)]
        assert gaps == []

    bench(case)


def test_a_log_that_lost_its_end_is_read_from_there() -> None:
    async def case(made: Bench) -> None:
        await made.writes(payload(1, b"one"))
        await made.store.sync({0: 3})
        async with following(made) as replica:
            await made.writes(payload(2, b"two"))
            await replica.reached(1)
            assert names(made.store) == [blob(2)]

    bench(case)


def test_a_log_that_begins_behind_what_is_known_to_be_here_is_a_gap() -> None:
    async def case(made: Bench) -> None:
        await made.writes(payload(1, b"one"), payload(2, b"two"), payload(3, b"three"))
        await made.store.sync({0: 1})
        await made.log.trim(AT, 2)
        gaps: list[int] = []
        async with following(made, gaps) as replica:
            await replica.reached(2)
            assert names(made.store) == [blob(3)]
        assert gaps == [1]

    bench(case)


def test_a_record_that_nobody_knows_stops_the_group() -> None:
    async def case(made: Bench) -> None:
        await made.writes((1, b"\x09?"))
        replica = GroupReplica(made.log, made.store, 0, made.fetch, list, lambda: None)
        with pytest.raises(UnknownRecord, match="writes:0"):
            await replica.run()

    bench(case)


def test_who_waits_for_a_position_is_told_when_it_was_consumed() -> None:
    async def case(made: Bench) -> None:
        async with following(made) as replica:
            waiting = [asyncio.create_task(replica.reached(position)) for position in (0, 2)]
            await made.writes(payload(1, b"one"), payload(2, b"two"))
            await asyncio.sleep(0.1)
            assert [each.done() for each in waiting] == [True, False]
            await made.writes(payload(3, b"three"))
            await asyncio.gather(*waiting)

    bench(case)


def test_a_claim_that_nobody_can_supply_is_told_loudly_and_in_seconds(caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"])
        async with following(made) as replica:
            await replica.reached(await made.writes(claim(1, b"large", "p"), payload(2, b"two")) - 1)
            await asyncio.sleep(500)
            assert ("no node gives it" in caplog.text, 495 < replica.held_s < 505) == (False, True)
            await asyncio.sleep(120)
            assert caplog.text.count("no node gives it; the log of the group is kept from 0 on") == 1
            made.peers["p"].has(ref(1), b"large")
            await asyncio.sleep(1)
            assert (replica.held_s, replica.settled) == (0.0, 2)

    bench(case)


def test_very_many_bytes_at_once_go_into_the_volumes_by_and_by(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(made: Bench) -> None:
        honest, sizes, turns = made.store.put_all, list[int](), list[int]()
        turn = 0

        async def put_all(blobs: Sequence[NewBlob]) -> None:
            sizes.append(sum(len(each.data) for each in blobs))
            turns.append(turn)
            await honest(blobs)

        async def others() -> None:
            nonlocal turn
            while True:
                turn += 1
                await asyncio.sleep(0)

        monkeypatch.setattr(made.store, "put_all", put_all)
        data = bytes(128 << 10)
        end = await made.writes(*(payload(number, data) for number in range(200)))
        going_on = asyncio.create_task(others())
        async with following(made) as replica:
            await replica.reached(end - 1)
        going_on.cancel()
        assert (sum(sizes), max(sizes) <= SLICE_BYTES) == (200 * len(data), True)
        assert len(set(turns)) == len(turns)  # others had their turn between any two
        assert len(names(made.store)) == 200

    bench(case)


@pytest.mark.parametrize("is_cold", [False, True])
def test_a_claim_is_compared_wherever_the_blob_is(is_cold: bool) -> None:
    async def case(made: Bench) -> None:
        made.faults.is_cold = is_cold
        async with following(made) as replica:
            end = await made.writes(payload(1, b"whole"), payload(2, b"other"), payload(3, b"gone"))
            await replica.reached(end - 1)
            waits = made.faults.waits
            end = await made.writes(claim(1, b"whole"), claim(2, b"right"), claim(3, b"gone"), release(3))
            await replica.reached(end - 1)
            assert [replica.wants(blob(number)) for number in (1, 2, 3)] == [False, True, False]
            assert names(made.store) == [blob(1), blob(2)]
            assert (made.faults.waits > waits) is is_cold

    bench(case)


@pytest.mark.parametrize("waits", range(CLAIM_COSTS))
@pytest.mark.parametrize("again", ["", "claimed", "other bytes"])
@pytest.mark.parametrize("is_mute", [False, True])
def test_a_release_ends_the_fetch_however_long_the_disk_takes(waits: int, again: str, is_mute: bool) -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"])
        made.peers["p"].has(ref(1), b"large")
        made.faults.is_cold = True
        async with following(made) as replica:
            made.faults.is_mute = is_mute
            made.faults.hangs_after = made.faults.waits + waits
            await made.writes(claim(1, b"large", "p"))
            await asyncio.sleep(LATE_S / 2)  # behind it nothing more would be consumed
            assert (replica.wants(blob(1)), made.faults.waits) == (True, waits + 1)
            await replica.reached(await made.writes(release(1)) - 1)
            if again:
                await replica.reached(await made.writes(claim(1, b"large", "p")) - 1)
                made.peers["p"].late.add(blob(1))
            if again == "other bytes" and not made.store.is_arriving(0, blob(1)):
                put(made.store, 1, b"LARGE")
            made.faults.go_on()
            await asyncio.sleep(1)
            assert replica.wants(blob(1)) is bool(again)
            assert not await made.has(1, b"large")
            made.peers["p"].late.clear()
            await asyncio.sleep(1)
            assert (await made.has(1, b"large"), replica.wants(blob(1))) == (bool(again), False)

    bench(case)
