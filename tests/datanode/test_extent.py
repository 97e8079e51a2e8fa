"""An extent on its way: who leads it, what happens when that one fails, and what is left behind."""

import asyncio
import random
from typing import Any

import pytest
from awscrt.checksums import crc32c

from datanode.client import Blobs
from datanode.extent import RESEND_BYTES_MAX, STALLED_S, ExtentWriter
from datanode.node import CLAIM_S, BlobUnavailable, NoNode
from tests.datanode.bench import Bench, bench
from topics import writes
from topics.log import LogError
from topics.objects import Extent
from topics.placement import Group
from topics.spec import TopicPartition

CHUNKS = [bytes([number]) * 1_000 for number in range(5)]
DATA = b"".join(CHUNKS)
GROUPS = [Group([*names], [*names]) for names in ("pqr", "qrp", "rpq")]


def blobs(made: Bench, seed: int = 0, groups: list[Group] = GROUPS, down: str = "", full: str = "") -> Blobs:
    made.place(groups=groups, down=down, full=full)
    return Blobs(made.log, made.map, made.peers, durable=True, rng=random.Random(seed))


async def send(writer: ExtentWriter, chunks: list[bytes] = CHUNKS) -> Extent:
    for chunk in chunks:
        await writer.write(chunk)
    return await writer.commit()


async def said(made: Bench) -> list[tuple[int, bytes, writes.Write]]:
    """(group, blob, write) of all that was told to groups."""
    found = []
    for group in range(len(GROUPS)):
        records = await made.log.read(TopicPartition("writes", group), 0)
        found += [(group, record.key, writes.decode(record.value)) for record in records]
    return found


def leads(made: Bench) -> str:
    return "".join(name for name, peer in made.peers.all.items() if "lead" in peer.asked)


def leads_each(made: Bench) -> dict[str, int]:
    return {name: peer.asked.count("lead") for name, peer in made.peers.all.items()}


def test_the_leader_of_a_group_takes_it_and_the_group_is_told_who_has_it() -> None:
    async def case(made: Bench) -> None:
        extent = await send(await blobs(made).create(len(DATA), 3))
        leader = "pqr"[extent.group]
        assert leads(made) == leader
        assert made.peers[leader].held[extent.group] == {bytes.fromhex(extent.blob): (3, DATA)}
        assert (extent.length, extent.crc32c, extent.position) == (len(DATA), crc32c(DATA), 0)
        claim = writes.Claim(3, len(DATA), crc32c(DATA), [leader])
        assert await said(made) == [(extent.group, bytes.fromhex(extent.blob), claim)]

    bench(case)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fails", ["lead", "write", "commit"])
def test_where_its_leader_fails_it_goes_to_another_group_whole(fails: str, seed: int) -> None:
    async def case(made: Bench) -> None:
        way = blobs(made, seed)
        made.peers["p"].fails = made.peers["q"].fails = fails
        extent = await send(await way.create(len(DATA), 3))
        assert extent.group == 2
        assert made.peers["r"].held[2] == {bytes.fromhex(extent.blob): (3, DATA)}
        told = await said(made)
        assert [write for _, _, write in told if isinstance(write, writes.Claim)] == [
            writes.Claim(3, len(DATA), crc32c(DATA), ["r"])
        ]
        released = {(group, blob) for group, blob, write in told if isinstance(write, writes.Release)}
        assert len(released) == (0 if fails == "lead" else leads(made).count("p") + leads(made).count("q"))
        assert bytes.fromhex(extent.blob) not in {blob for _, blob in released}  # each attempt has a name of its own

    bench(case)


@pytest.mark.parametrize("when", ["at first", "in the middle", "at the end"])
def test_a_leader_that_stalls_is_left_after_a_moment(when: str) -> None:
    async def case(made: Bench) -> None:
        started = asyncio.get_running_loop().time()
        way = blobs(made, groups=[GROUPS[0], Group(["q", "r"], ["q", "r"])])
        made.peers["p"].slow_s = 1_000 if when == "at first" else 0.0
        writer = await way.create(len(DATA), 3)
        for number, chunk in enumerate(CHUNKS):
            if when == "in the middle" and number == 2:
                made.peers["p"].slow_s = 1_000
            await writer.write(chunk)
        made.peers["p"].slow_s = 1_000
        await writer.commit()
        assert asyncio.get_running_loop().time() - started < STALLED_S + 0.2
        await send(await way.create(len(DATA), 3))  # at once: p is suspected
        assert asyncio.get_running_loop().time() - started < STALLED_S + 0.2
        assert made.peers["p"].asked.count("lead") <= 1

    bench(case)


@pytest.mark.parametrize("late", ["the end", "the claim"])
@pytest.mark.parametrize(("late_s", "stands"), [(CLAIM_S - 1, True), (CLAIM_S + 1, False)])
def test_a_blob_stands_only_if_its_claim_came_in_time(late_s: float, stands: bool, late: str) -> None:
    """Who took it waits for that, and no longer, before it drops a group that moved on."""

    async def case(made: Bench) -> None:
        at_once = made.log.append

        async def append(*arguments: Any, **options: Any) -> list[int]:
            await asyncio.sleep(late_s)
            return await at_once(*arguments, **options)

        writer = await blobs(made).create(len(DATA), 3)
        for chunk in CHUNKS:
            await writer.write(chunk)
        if late == "the end":  # of a body, as a trailer; its nodes may have it meanwhile
            await asyncio.sleep(late_s)
        else:
            made.log.append = append  # type: ignore[method-assign]
        if stands:
            assert (await writer.commit()).length == len(DATA)
        else:
            with pytest.raises(OSError, match="its claim came too late"):
                await writer.commit()
            await writer.abort()

    bench(case)


def test_whom_a_leader_could_not_reach_is_gone_around_and_the_leader_is_not() -> None:
    async def case(made: Bench) -> None:
        made.peers["p"].without = ["q"]
        asked = []
        for seed in range(8):
            way = blobs(made, seed, [Group(["p", "q"]), Group(["r", "p"])])
            made.peers["p"].asked.clear()
            for _ in range(20):
                assert (await send(await way.create(len(DATA), 3))).group == 1
            asked.append(made.peers["p"].asked.count("lead"))
        assert asked == [1] * 8

    bench(case)


def test_where_all_groups_begin_with_a_node_that_stalls_another_leads() -> None:
    async def case(made: Bench) -> None:
        made.peers["p"].slow_s = 1_000
        started = asyncio.get_running_loop().time()
        await send(await blobs(made, groups=[Group(["p", "q", "r"]), Group(["p", "r", "q"])]).create(len(DATA), 3))
        assert asyncio.get_running_loop().time() - started < STALLED_S + 0.2
        assert made.peers["p"].asked.count("lead") == 1

    bench(case)


def test_a_leader_that_reaches_nobody_is_asked_once() -> None:
    """It is cut off itself, and whom it names is well."""

    async def case(made: Bench) -> None:
        made.peers["p"].without = ["q", "r"]
        asked = []
        for seed in range(8):
            way = blobs(made, seed, [Group(["p", "q", "r"]), Group(["p", "r", "q"]), Group(["q", "p", "r"])])
            made.peers["p"].asked.clear()
            for _ in range(20):
                await send(await way.create(len(DATA), 3))
            asked.append(made.peers["p"].asked.count("lead"))
        assert max(asked) == 1

    bench(case)


def test_a_leader_that_follows_whom_it_did_not_reach_is_well() -> None:
    async def case(made: Bench) -> None:
        way = blobs(made, groups=[Group(["p", "q"]), Group(["p", "q", "r"])])
        made.peers["p"].without, made.peers["q"].along = ["q"], ["p"]
        await send(await way.create(len(DATA), 3))
        made.peers["p"].without = []
        for _ in range(4):
            await send(await way.create(len(DATA), 3))
        assert leads_each(made) == {"p": 5, "q": 1, "r": 0}

    bench(case)


def test_a_large_one_that_a_leader_brought_to_nobody_goes_to_others_as_well_when_it_comes_again() -> None:
    """Nobody knows whether that leader is cut off, or those that it named are gone."""

    async def case(made: Bench) -> None:
        way = blobs(made)
        made.peers["p"].without = ["q", "r"]
        for _ in range(20):
            writer = await way.create(RESEND_BYTES_MAX + 1, 3)
            try:
                await send(writer, [bytes(RESEND_BYTES_MAX), b"x"])
            except NoNode:
                await writer.abort()
        found = leads_each(made)
        assert min(found.values()) > 2

    bench(case)


@pytest.mark.parametrize("length", [len(DATA), RESEND_BYTES_MAX + 1])
def test_a_leader_is_to_name_who_is_silent_before_it_is_left_itself(length: int) -> None:
    async def case(made: Bench) -> None:
        waits = []
        for peer in made.peers.all.values():
            peer.fails = "lead"
        way = blobs(made)
        with pytest.raises(NoNode):
            await way.create(length, 3)
        for peer in made.peers.all.values():
            waits += peer.quorums_s
        assert sorted(waits) == pytest.approx([0.8, 1.6, 2.4] if length == len(DATA) else [10.0] * 3)

    bench(case)


def test_a_large_one_is_not_sent_again() -> None:
    async def case(made: Bench) -> None:
        writer = await blobs(made).create(RESEND_BYTES_MAX + 1, 3)
        await writer.write(bytes(RESEND_BYTES_MAX))
        for peer in made.peers.all.values():
            peer.is_dead = True
        with pytest.raises(NoNode, match=r"q did not take a payload: .*is gone"):
            await writer.write(b"x")
        await writer.abort()
        assert [type(write) for _, _, write in await said(made)] == [writes.Release]

    bench(case)


def test_a_large_one_may_begin_elsewhere() -> None:
    async def case(made: Bench) -> None:
        way = blobs(made)
        made.peers["p"].fails = made.peers["q"].fails = "lead"
        extent = await send(await way.create(RESEND_BYTES_MAX + 1, 3), [bytes(RESEND_BYTES_MAX), b"x"])
        assert (extent.group, extent.length) == (2, RESEND_BYTES_MAX + 1)

    bench(case)


def test_where_every_leader_fails_nothing_is_claimed() -> None:
    async def case(made: Bench) -> None:
        way = blobs(made)
        for peer in made.peers.all.values():
            peer.fails = "commit"
        writer = await way.create(len(DATA), 3)
        with pytest.raises(OSError, match="did not take a payload"):
            await send(writer)
        await writer.abort()
        assert not [write for _, _, write in await said(made) if isinstance(write, writes.Claim)]
        assert [dict(peer.held[group]) for peer in made.peers.all.values() for group in range(3)] == [{}] * 9

    bench(case)


@pytest.mark.parametrize(("down", "full"), [("p", ""), ("", "p"), ("pq", ""), ("p", "q")])
def test_the_first_target_that_can_take_it_leads(down: str, full: str) -> None:
    async def case(made: Bench) -> None:
        way = blobs(made, groups=[GROUPS[0]], down=down, full=full)
        await send(await way.create(len(DATA), 3))
        assert leads(made) == ("q" if "q" not in down + full else "r")

    bench(case)


def test_groups_that_can_make_enough_copies_are_preferred() -> None:
    async def case(made: Bench) -> None:
        for seed in range(8):
            way = blobs(made, seed, [Group(["p", "own"], []), Group(["q", "r"], [])], down="own")
            assert (await send(await way.create(len(DATA), 3))).group == 1
            assert (await way.put(b"small", 3)).group == 1

    bench(case)


@pytest.mark.parametrize(("down", "full"), [("pqr", ""), ("", "pqr")])
def test_without_a_node_there_is_no_way_for_large_ones(down: str, full: str) -> None:
    async def case(made: Bench) -> None:
        with pytest.raises(NoNode):
            await blobs(made, down=down, full=full).create(len(DATA), 3)

    bench(case)


def test_small_ones_ride_the_log_though_no_node_is_up_and_stay_with_a_group_for_a_moment() -> None:
    async def case(made: Bench) -> None:
        way = blobs(made, down="pqr")
        extents = [await way.put(b"small", 7) for _ in range(5)]
        (group,) = {extent.group for extent in extents}
        assert [extent.position for extent in extents] == [0, 1, 2, 3, 4]
        assert [write for _, _, write in await said(made)] == [writes.Payload(7, b"small")] * 5
        found = set()
        for _ in range(20):
            await asyncio.sleep(2)
            found.add((await way.put(b"small", 7)).group)
        assert found == {0, 1, 2}
        assert group in found

    bench(case)


def test_what_cannot_be_claimed_is_no_extent() -> None:
    async def case(made: Bench) -> None:
        writer = await blobs(made).create(len(DATA), 3)
        made.log.fail_next = 1
        with pytest.raises(LogError):
            await send(writer)
        await writer.abort()

    bench(case)


def test_what_was_sent_can_be_read_and_given_back() -> None:
    async def case(made: Bench) -> None:
        way = blobs(made)
        extent = await send(await way.create(len(DATA), 3))
        assert await way.read(extent, 999, 2) == DATA[999:1001]
        await way.release([extent])
        assert (await said(made))[-1] == (extent.group, bytes.fromhex(extent.blob), writes.Release())
        with pytest.raises(BlobUnavailable):
            await way.read(Extent("00" * 16, extent.group, 5, 0, -1), 0, 5)

    bench(case)
