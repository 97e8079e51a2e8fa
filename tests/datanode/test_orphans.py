"""The sweep: which blobs a node asks for, whom, how many at a time, and how slowly."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from datanode.orphans import BATCH, sweep
from datanode.replica import GroupReplica
from datanode.store import NewBlob
from tests.datanode.bench import OWN, Bench, bench, claim
from tests.datanode.stores import put_all
from tests.virtual import START_S, now_ms
from topics import writes
from topics.commands import ReleaseOrphans
from topics.log import Entry
from topics.spec import TopicPartition
from topics.writes import UNKNOWN_PARTITION

AFTER_S = 1_000.0
PACE_S = 10.0
EVERY_S = 100.0


def minted(age_s: float, number: int = 0) -> bytes:
    """A UUIDv7 of that age."""
    return int((START_S - age_s) * 1000).to_bytes(6, "big") + number.to_bytes(10, "big")


def put(made: Bench, *blobs: bytes, group: int = 0, partition: int = 3) -> None:
    put_all(made.store, [NewBlob(group, blob, partition, b"x") for blob in blobs])


@asynccontextmanager
async def sweeping(made: Bench, *groups: int) -> AsyncIterator[None]:
    running = asyncio.create_task(sweep(made.store, lambda: groups, made.submit, now_ms, AFTER_S, PACE_S, EVERY_S))
    yield
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def asked(*blobs: bytes, group: int = 0, partition: int = 3) -> ReleaseOrphans:
    return ReleaseOrphans(partition, [(group, blob.hex()) for blob in blobs])


def test_the_old_blobs_of_a_held_group_are_asked_for_of_their_partitions() -> None:
    async def case(made: Bench) -> None:
        old = [minted(AFTER_S + age, age) for age in (4, 3, 2)]
        put(made, old[0], old[2])
        put(made, old[1], partition=15)
        put(made, minted(AFTER_S - 60))
        put(made, minted(2 * AFTER_S), group=7)  # which is not held
        async with sweeping(made, 0):
            await asyncio.sleep(11)
            assert made.said == [asked(old[0], old[2]), asked(old[1], partition=15)]

    bench(case)


def test_an_index_that_cannot_be_read_for_a_while_ends_no_sweep() -> None:
    async def case(made: Bench) -> None:
        old = minted(2 * AFTER_S)
        put(made, old)
        made.index.fails = True
        async with sweeping(made, 0):
            await asyncio.sleep(50)
            made.index.fails = False
            await asyncio.sleep(50)
            assert asked(old) in made.said

    bench(case)


def test_a_blob_is_asked_for_when_it_has_come_of_age_and_again_in_the_next_round_over_all() -> None:
    async def case(made: Bench) -> None:
        old, young = minted(AFTER_S + 1), minted(AFTER_S - 55)
        put(made, old, young)
        async with sweeping(made, 0):
            await asyncio.sleep(51)
            assert made.said == [asked(old)]
            await asyncio.sleep(30)
            assert made.said == [asked(old), asked(young)]
            await asyncio.sleep(EVERY_S)
            assert made.said == [asked(old), asked(young), asked(old, young)]

    bench(case)


def test_the_blobs_of_a_group_that_was_not_held_are_asked_for_again_when_it_is() -> None:
    async def case(made: Bench) -> None:
        put(made, minted(AFTER_S + 1))
        groups = [0]
        running = asyncio.create_task(sweep(made.store, lambda: groups, made.submit, now_ms, AFTER_S, PACE_S, 1e9))
        for expected in (1, 1, 2):
            await asyncio.sleep(2 * PACE_S + 1)
            assert len(made.said) == expected
            groups[:] = [] if groups else [0]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    bench(case)


def test_blobs_of_no_bucket_and_of_an_earlier_release_are_left_alone() -> None:
    async def case(made: Bench) -> None:
        put(made, minted(AFTER_S + 1), partition=UNKNOWN_PARTITION)
        put(made, minted(AFTER_S + 2), partition=16)
        async with sweeping(made, 0):
            await asyncio.sleep(50)
            assert made.said == []

    bench(case)


def test_what_a_late_claim_announces_and_nobody_has_is_asked_for_once_a_round_and_holds_the_log_no_longer() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"])
        replica = GroupReplica(made.log, made.store, 0, made.fetch, lambda: ["p"], lambda: None)
        announced = lambda group: replica.announced()  # noqa: E731
        times = AFTER_S, PACE_S, EVERY_S
        sweeping = sweep(made.store, lambda: [0], made.submit, now_ms, *times, announced)
        running = [asyncio.create_task(each) for each in (replica.run(), sweeping)]
        old = minted(AFTER_S + 1)
        given_back, late = Entry(old, writes.RELEASE), Entry(old, claim(1, b"come late", "p")[1])
        at = TopicPartition("writes", 0)
        await made.log.append(at, [given_back, late], durable=True)
        await asyncio.sleep(3 * PACE_S)
        assert (made.said, replica.settled) == ([asked(old)], 1)
        await asyncio.sleep(EVERY_S)
        assert made.said == 2 * [asked(old)]
        await made.log.append(at, [given_back], durable=True)
        await asyncio.sleep(EVERY_S)
        assert (made.said, replica.settled) == (2 * [asked(old)], 3)
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    bench(case)


def test_a_clock_that_is_set_ahead_makes_nobody_old() -> None:
    """What was minted before is as old as it is; what is old by any clock is asked for."""

    async def case(made: Bench) -> None:
        ahead_s = 0.0
        clock_ms = lambda: now_ms() + int(ahead_s * 1000)  # noqa: E731
        old, young = minted(AFTER_S + 1), minted(0)
        put(made, old, young)
        running = asyncio.create_task(sweep(made.store, lambda: [0], made.submit, clock_ms, AFTER_S, PACE_S, 1e9))
        await asyncio.sleep(PACE_S / 2)
        ahead_s = 365 * 86_400.0
        await asyncio.sleep(AFTER_S / 2)
        assert made.said == [asked(old)]
        ahead_s = 0.0
        await asyncio.sleep(AFTER_S / 4)
        ahead_s = 365 * 86_400.0
        await asyncio.sleep(AFTER_S / 4 - PACE_S)
        assert made.said == [asked(old)]
        await asyncio.sleep(2 * PACE_S)
        assert made.said == [asked(old), asked(young)]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    bench(case)


def test_many_are_asked_for_slowly() -> None:
    async def case(made: Bench) -> None:
        put(made, *(minted(AFTER_S + 1, number) for number in range(2 * BATCH + 1)))
        put(made, minted(AFTER_S + 1), minted(0), group=1)  # the second is young
        put(made, minted(AFTER_S + 1), group=2)
        async with sweeping(made, 0, 1, 2):
            sizes = []
            for _ in range(6):
                await asyncio.sleep(PACE_S + 0.1)
                sizes.append([len(body.blobs) for body in made.said if isinstance(body, ReleaseOrphans)])
                made.said.clear()
            assert sizes == [[BATCH], [BATCH], [1], [1], [1], []]

    bench(case)


def test_what_cannot_be_asked_for_now_is_asked_for_in_the_next_round() -> None:
    async def case(made: Bench) -> None:
        put(made, minted(AFTER_S + 1))
        made.unsaid = 1
        async with sweeping(made, 0):
            await asyncio.sleep(PACE_S + 1)
            assert made.said == []
            await asyncio.sleep(PACE_S)
            assert len(made.said) == 1

    bench(case)
