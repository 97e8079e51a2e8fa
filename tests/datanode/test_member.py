"""A data node among others: what it serves, copies, gives up and says as the map changes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from datanode.member import WELCOME_S, Member, NodeReplaced
from datanode.node import CLAIM_S
from tests.datanode.bench import IDENTITY, OWN, Bench, bench, claim, payload, ref, release
from tests.datanode.stores import blob, names
from topics import writes
from topics.commands import HoldGroup
from topics.log import Entry
from topics.spec import TopicPartition

AT = TopicPartition("writes", 0)
HOLDS, LOST = HoldGroup(OWN, "boot", 0, holds=True), HoldGroup(OWN, "boot", 0, holds=False)


@asynccontextmanager
async def membership(made: Bench) -> AsyncIterator[Member]:
    member = Member(IDENTITY, made.log, made.store, made.map, made.peers, made.fetch, made.submit)
    running = asyncio.create_task(member.run())
    await asyncio.sleep(0.1)
    yield member
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def hold(made: Bench, name: str, *numbers: int) -> None:
    for number in numbers:
        made.peers[name].has(ref(number), b"x")


def test_a_member_follows_its_groups_and_no_others() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN])
        async with membership(made) as member:
            await made.writes(payload(1, b"x"))
            await made.writes(payload(2, b"x"), group=1)
            await asyncio.sleep(0.1)
            assert (names(made.store), names(made.store, 1)) == ([blob(1)], [])
            assert (list(member.replicas), member.holds(0), member.holds(1), made.said) == ([0], True, False, [])

    bench(case)


def test_a_new_target_copies_what_is_older_than_the_log_and_then_says_that_it_holds_it() -> None:
    async def case(made: Bench) -> None:
        await made.writes(payload(1, b"x"), payload(2, b"x"))
        await made.log.trim(AT, 1)
        hold(made, "p", 1, 2)
        made.peers["p"].slow_s = 1
        made.place(["p", OWN], ["p"])
        async with membership(made) as member:
            await asyncio.sleep(1)
            assert (made.said, member.holds(0), list(member.copies)) == ([], False, [0])
            await asyncio.sleep(5)
            assert (names(made.store), set(made.said), list(member.copies)) == ([blob(1), blob(2)], {HOLDS}, [])
            assert len(made.said) > 1  # until it shows
            made.place(["p", OWN], ["p", OWN])
            await asyncio.sleep(0.1)
            said = len(made.said)
            await asyncio.sleep(5)
            assert (member.holds(0), len(made.said)) == (True, said)

    bench(case)


def test_a_copy_is_tried_again_until_a_holder_answers_and_what_it_says_until_it_can_be_said() -> None:
    async def case(made: Bench) -> None:
        hold(made, "p", 1)
        made.peers["p"].is_dead = True
        made.unsaid = 3
        made.place(["p", OWN], ["p"])
        async with membership(made):
            await asyncio.sleep(10)
            assert made.said == []
            made.peers["p"].is_dead = False
            await asyncio.sleep(10)
            assert (names(made.store), set(made.said), made.unsaid) == ([blob(1)], {HOLDS}, 0)

    bench(case)


def test_who_is_no_target_any_more_says_nothing_of_what_it_copied() -> None:
    async def case(made: Bench) -> None:
        hold(made, "p", 1)
        made.peers["p"].slow_s = 1
        made.place(["p", OWN], ["p"])
        async with membership(made) as member:
            await asyncio.sleep(1)
            made.place(["p"], ["p"])
            await asyncio.sleep(10)
            assert (made.said, names(made.store), list(member.replicas), list(member.copies)) == ([], [], [], [])

    bench(case)


def test_a_group_is_given_up_when_the_node_is_neither_target_nor_holder() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN])
        async with membership(made) as member:
            await made.writes(payload(1, b"x"))
            await asyncio.sleep(0.1)
            await made.store.sync({0: 1})
            made.place(["p", "q"], [OWN])
            await asyncio.sleep(1)
            assert (names(made.store), member.holds(0), list(member.replicas)) == ([blob(1)], True, [0])
            made.place(["p", "q"], ["p", "q"])
            await asyncio.sleep(CLAIM_S + 1)
            assert (names(made.store), made.store.position(0), list(member.replicas)) == ([], None, [])
            await made.writes(payload(2, b"x"))
            await asyncio.sleep(1)
            assert names(made.store) == []

    bench(case)


@pytest.mark.parametrize("fails_at_s", [0.0, 1.0])  # before the map says so, and while the others are asked
def test_an_index_that_cannot_be_read_for_a_while_ends_nothing(fails_at_s: float) -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN])
        await made.writes(payload(1, b"x"))
        async with membership(made):
            await made.store.sync({0: 1})
            made.index.fails = fails_at_s == 0
            for peer in made.peers.all.values():
                peer.slow_s = 2 * fails_at_s
            made.place(["p", "q"], ["p", "q"])
            await asyncio.sleep(CLAIM_S + 1.5 * fails_at_s)
            made.index.fails = True
            await asyncio.sleep(10)
            made.index.fails = False
            await asyncio.sleep(5)
            assert (names(made.store), made.store.groups()) == ([], set())

    bench(case)


def test_a_group_that_a_former_process_had_is_given_up_too() -> None:
    async def case(made: Bench) -> None:
        made.place(["p"], ["p"])
        await made.writes(payload(1, b"x"), group=5)
        made.place(groups=[])
        async with membership(made) as member:
            del member
        await made.store.sync({5: 1})
        async with membership(made):
            await asyncio.sleep(CLAIM_S + 1)
            assert made.store.groups() == set()

    bench(case)


@pytest.mark.parametrize("known", ["nobody", "a former process", "a node with another folder"])
def test_before_the_map_knows_this_process_nothing_is_given_up_copied_or_said(known: str) -> None:
    async def case(made: Bench) -> None:
        await made.writes(payload(1, b"x"))
        await made.store.sync({5: 1})
        if known == "a former process":
            made.place(["p", OWN], ["p"], boot="former")
        elif known == "a node with another folder":
            made.place(["p", OWN], ["p", OWN], folder="another")
        async with membership(made) as member:
            await asyncio.sleep(5)
            assert (made.said, made.store.groups() >= {5}) == ([], True)
            served = [0] if known == "a former process" else []  # it may follow what that one followed
            assert (member.is_registered, list(member.replicas), member.holds(0)) == (False, served, False)
            made.place(["p", OWN], ["p", OWN])
            await asyncio.sleep(CLAIM_S + 1)
            assert (member.holds(0), made.store.groups()) == (True, {0})

    bench(case)


def test_nothing_is_dropped_before_the_claims_of_what_was_committed_here_have_come() -> None:
    """Its holders learn of such a blob by its claim, and then have it to fetch."""

    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN, "p"])
        async with membership(made):
            writer = made.store.create(0, blob(1), 3, 1)
            await writer.write(b"x")
            await writer.commit()
            made.place(["p", "q"], ["p", "q"])
            await asyncio.sleep(CLAIM_S - 1)
            made.peers["p"].fails = made.peers["q"].fails = "blobs"  # they still fetch it
            await made.writes(claim(1, b"x", OWN))
            await asyncio.sleep(10)
            assert names(made.store) == [blob(1)]
            made.peers["p"].fails = made.peers["q"].fails = ""
            await asyncio.sleep(5)
            assert names(made.store) == []

    bench(case)


def test_nothing_is_dropped_before_enough_holders_have_all_of_it() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN], [OWN])
        async with membership(made):
            await made.writes(payload(1, b"x"))
            await asyncio.sleep(0.1)
            made.peers["p"].fails = made.peers["q"].fails = "blobs"  # they still fetch some
            made.place(["p", "q", "r"], ["p", "q", "r"])
            await asyncio.sleep(CLAIM_S + 10)
            assert names(made.store) == [blob(1)]
            made.peers["p"].fails = ""
            made.place(["p", "q", "r"], ["p", "q", "r"], down="r")
            await asyncio.sleep(5)
            assert names(made.store) == [blob(1)]  # one of three is up and has it
            made.peers["q"].fails = ""
            await asyncio.sleep(5)
            assert names(made.store) == []

    bench(case)


def test_a_group_that_is_taken_again_before_it_was_dropped_is_here_still() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN], [OWN])
        hold(made, "p", 1, 2)
        async with membership(made):
            await made.writes(payload(1, b"x"))
            await asyncio.sleep(0.1)
            made.peers["p"].fails = "blobs"
            made.place(["p"], ["p"])
            await asyncio.sleep(CLAIM_S + 3)
            await made.writes(payload(2, b"x"))
            made.peers["p"].fails = ""
            made.place(["p", OWN], ["p"])
            await asyncio.sleep(3)
            assert (names(made.store), set(made.said)) == ([blob(1), blob(2)], {HOLDS})
            assert "read" not in made.peers["p"].asked

    bench(case)


def test_a_group_that_is_taken_again_while_it_is_dropped_is_taken_whole() -> None:
    async def case(made: Bench) -> None:
        at_once = made.store.drop_group

        async def drop_slowly(group: int) -> None:
            made.store.index.forget_position(group)
            made.store.release(group, [blob(1)])
            await asyncio.sleep(1)
            await at_once(group)

        made.store.drop_group = drop_slowly  # type: ignore[method-assign]
        made.place([OWN, "p"], [OWN, "p"])
        hold(made, "p", 1, 2)
        async with membership(made) as member:
            await made.writes(payload(1, b"x"), payload(2, b"x"))
            await asyncio.sleep(0.1)
            await made.store.sync({0: 2})
            await made.log.trim(AT, 2)
            await asyncio.sleep(0.5)
            for _ in range(2):
                made.place(["p"], ["p"])
                await asyncio.sleep(CLAIM_S + 0.2)
                assert names(made.store) == [blob(2)]
                made.place([OWN, "p"], ["p"])
                await asyncio.sleep(0.2)
            await asyncio.sleep(5)
            assert (names(made.store), set(made.said)) == ([blob(1), blob(2)], {HOLDS})
            assert (list(member.copies), LOST in made.said) == ([], False)

    bench(case)


@pytest.mark.parametrize("steps", range(1, 8))
def test_a_copy_that_is_broken_off_and_begun_again_at_once_comes_to_its_end(
    steps: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def case(made: Bench) -> None:
        hold(made, "p", 1, 2)
        made.peers["p"].slow_s = 1
        made.place([OWN, "p"], ["p"])
        async with membership(made) as member:
            await asyncio.sleep(1.5)
            made.place(["p"], ["p"])
            for _ in range(steps):
                await asyncio.sleep(0)
            made.place([OWN, "p"], ["p"])
            await asyncio.sleep(0.5)
            assert list(member.copies) == [0]
            await asyncio.sleep(10)
            assert (names(made.store), set(made.said), list(member.copies)) == ([blob(1), blob(2)], {HOLDS}, [])

    bench(case)
    assert "stopped" not in caplog.text


def test_what_a_truncated_volume_lost_is_said_before_it_is_copied_again() -> None:
    async def case(made: Bench) -> None:
        made.store.lost = {0: 2}
        hold(made, "p", 1, 2)
        made.place([OWN, "p"], [OWN, "p"])
        async with membership(made) as member:
            await asyncio.sleep(3)
            assert (set(made.said), names(made.store), member.holds(0)) == ({LOST}, [], False)
            made.said.clear()
            made.place([OWN, "p"], ["p"])
            await asyncio.sleep(3)
            assert (set(made.said), names(made.store)) == ({HOLDS}, [blob(1), blob(2)])
            made.place([OWN, "p"], [OWN, "p"])
            await asyncio.sleep(0.1)
            made.said.clear()
            await asyncio.sleep(3)
            assert (made.said, member.holds(0)) == ([], True)

    bench(case)


def test_a_gap_in_the_log_of_a_holder_is_a_loss() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN, "p"])
        async with membership(made):
            assert made.said == []
            made.log.land(AT, [Entry(blob(1), writes.payload(3, b"x"))])
            await made.log.trim(AT, 1)  # before it was read here
            await asyncio.sleep(1)
            assert set(made.said) == {LOST}

    bench(case)


def test_the_last_holder_of_what_was_lost_stays_one_and_that_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Bench) -> None:
        made.store.lost = {0: 2}
        made.place([OWN, "p"], [OWN])
        async with membership(made) as member:
            await asyncio.sleep(3)
            assert (made.said, member.holds(0)) == ([], True)

    bench(case)
    assert "group 0 may lack blobs that were here, and no other node holds it" in caplog.text


@pytest.mark.parametrize("replaced", ["by another process", "by nobody"])
def test_a_node_that_was_replaced_ends(replaced: str) -> None:
    async def case(made: Bench) -> None:
        made.place([OWN], [OWN])
        member = Member(IDENTITY, made.log, made.store, made.map, made.peers, made.fetch, made.submit)
        running = asyncio.create_task(member.run())
        await asyncio.sleep(1)
        made.place([OWN], [OWN], boot="later", without=OWN if replaced == "by nobody" else "")
        with pytest.raises(NodeReplaced, match="another process is the data node own now"):
            await running

    bench(case)


def test_who_is_not_welcome_is_told_what_to_look_at(caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Bench) -> None:
        async with membership(made):
            await asyncio.sleep(WELCOME_S - 1)
            assert "not in the cluster's map" not in caplog.text
            await asyncio.sleep(2)

    bench(case)
    assert "data node own is not in the cluster's map after 20 s" in caplog.text


def test_a_record_that_nobody_knows_stops_its_group_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Bench) -> None:
        await made.writes((1, b"\x09?"))
        made.place(["p", OWN], ["p"])
        async with membership(made) as member:
            await asyncio.sleep(1)
            assert list(member.replicas) == [0]

    bench(case)
    assert "replica of group 0 stopped: offset 0 of writes:0 cannot be read" in caplog.text


def test_a_replica_that_failed_is_begun_again_and_told_until_then() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN], [OWN])
        async with membership(made) as member:
            await made.writes(payload(1, b"one"), payload(2, b"two"))
            await asyncio.sleep(1)
            honest = made.index.commit

            def commit(changes: Mapping[bytes, bytes | None]) -> None:
                raise RuntimeError("by the test's wish")

            made.index.commit = commit  # type: ignore[method-assign]
            await made.writes(release(1))
            await made.writes(payload(3, b"three"))
            await asyncio.sleep(100)
            assert member.replicas[0].position == 2
            assert [why for why in member.unready() if "by the test's wish" in why] != []
            made.index.commit = honest  # type: ignore[method-assign]
            await asyncio.sleep(60)
            assert (member.unready(), member.replicas[0].settled) == ([], 4)
            assert names(made.store) == [blob(2), blob(3)]

    bench(case)


def test_a_replica_that_is_begun_again_still_fetches_what_it_lacked() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN, "p"])
        hold(made, "p", 1)
        made.peers["p"].slow_s = 5
        async with membership(made) as member:
            await made.writes(claim(1, b"x", "p"))
            await asyncio.sleep(1)  # it is being fetched
            made.index.fails = True
            await made.writes(release(2))
            await asyncio.sleep(2)
            assert [why for why in member.unready() if "not consumed" in why] != []
            made.index.fails = False
            await asyncio.sleep(60)
            assert (names(made.store), member.replicas[0].settled) == ([blob(1)], 2)

    bench(case)
