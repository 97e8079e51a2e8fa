"""The node of this process: what it waits for, what it refuses, and whom it leads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from datanode.local import BEHIND_S_MAX, LocalNode
from datanode.node import BlobUnavailable
from datanode.replica import GroupReplica
from datanode.store import BlobExists
from tests.datanode.bench import OWN, Bench, bench, claim, payload, ref
from tests.datanode.nodes import put
from tests.datanode.stores import blob, names

DATA = bytes(range(256)) * 400


class Local:
    """Knob: `holds`."""

    def __init__(self, made: Bench) -> None:
        self.holds = True
        self.damaged: list[tuple[int, bytes]] = []
        self.replica = GroupReplica(made.log, made.store, 0, made.fetch, lambda: ["p"], lambda: None)
        self.replicas = {0: self.replica}
        self.node = LocalNode(
            OWN,
            made.store,
            self.replicas,
            made.map,
            made.peers,
            lambda _: self.holds,
            lambda *found: self.damaged.append(found),
        )


@asynccontextmanager
async def local(made: Bench) -> AsyncIterator[Local]:
    found = Local(made)
    running = asyncio.create_task(found.replica.run())
    await found.replica.started()
    yield found
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_who_is_behind_is_waited_for_and_not_for_ever() -> None:
    async def case(made: Bench) -> None:
        async with local(made) as own:
            reading = asyncio.create_task(own.node.read(ref(1), 0, 3, 0))
            await asyncio.sleep(BEHIND_S_MAX - 1)
            assert not reading.done()
            await made.writes(payload(1, b"one"))
            assert await reading == b"one"
            started = asyncio.get_running_loop().time()
            for waiting in (own.node.read(ref(2), 0, 3, 1), own.node.blobs(0, b"", 2)):
                with pytest.raises(TimeoutError):
                    await waiting
            assert 2 * BEHIND_S_MAX <= asyncio.get_running_loop().time() - started < 2 * BEHIND_S_MAX + 1

    bench(case)


def test_what_is_here_ahead_of_its_record_is_not_given_before_that_was_read() -> None:
    """It may have come damaged from who forwarded it: the claim check tells."""

    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN])
        made.peers["p"].has(ref(1), b"one")
        async with local(made) as own:
            await put(own.node, ref(1), b"0ne")
            reading = asyncio.create_task(own.node.read(ref(1), 0, 3, 0))
            await asyncio.sleep(1)
            assert not reading.done()
            await made.writes(claim(1, b"one", "p"))
            with pytest.raises(OSError, match="still to be fetched"):
                await reading
            await asyncio.sleep(1)
            assert await own.node.read(ref(1), 0, 3, 0) == b"one"

    bench(case)


def test_what_comes_damaged_behind_its_claim_check_is_not_given() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN])
        made.peers["p"].has(ref(1), b"one")
        async with local(made) as own:
            writer = await own.node.create(ref(1), 3, leads=False)  # the group's leader still forwards it
            await writer.write(b"0ne")
            await made.writes(claim(1, b"one", "p"))
            await own.replica.reached(0)
            await writer.commit()
            with pytest.raises(OSError, match="still to be fetched"):
                await own.node.read(ref(1), 0, 3, 0)
            await asyncio.sleep(1)
            assert await own.node.read(ref(1), 0, 3, 0) == b"one"

    bench(case)


def test_a_group_that_is_not_served_takes_and_tells_nothing() -> None:
    async def case(made: Bench) -> None:
        async with local(made) as own:
            for asked in (
                own.node.create(ref(1, 5), 3, leads=False),
                own.node.blobs(5, b"", 0),
                own.node.read(ref(1, 5), 0, 3, 0),
            ):
                with pytest.raises(OSError, match="does not serve group 5"):
                    await asked

    bench(case)


@pytest.mark.parametrize("leads", [True, False])
def test_who_gives_a_group_up_commits_nothing_of_it_any_more(leads: bool) -> None:
    """It would count as a copy, and be dropped before others hear of it."""

    async def case(made: Bench) -> None:
        made.place([OWN, "p", "q"], [OWN])
        async with local(made) as own:
            writer = await own.node.create(ref(1), 3, leads=leads)
            await writer.write(b"one")
            del own.replicas[0]
            with pytest.raises(OSError, match="does not serve group 0"):
                await writer.commit()
            await writer.abort()
            assert names(made.store) == []

    bench(case)


def test_who_still_fetches_blobs_of_a_group_lists_none() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN])
        made.peers["p"].is_dead = True
        async with local(made) as own:
            await made.writes(payload(1, b"one"), claim(2, b"large", "p"))
            await own.replica.reached(1)
            assert [held.blob for held in await own.node.blobs(0, b"", 1)] == [blob(1)]
            with pytest.raises(OSError, match="still fetches blobs of group 0"):
                await own.node.blobs(0, b"", 2)

    bench(case)


@pytest.mark.parametrize("trouble", ["wanted", "does not hold", "of another group"])
def test_what_may_still_come_is_not_said_to_be_gone(trouble: str) -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN])
        made.peers["p"].is_dead = True
        async with local(made) as own:
            if trouble == "wanted":
                await made.writes(claim(1, b"large", "p"))
                await own.replica.reached(0)
            own.holds = trouble != "does not hold"
            with pytest.raises(OSError, match=r"may still come|still to be fetched"):
                await own.node.read(ref(1, 5 if trouble == "of another group" else 0), 0, 3, -1)

    bench(case)


def test_what_is_gone_and_what_is_damaged_is_said_to_be_unavailable() -> None:
    async def case(made: Bench) -> None:
        async with local(made) as own:
            await put(own.node, ref(1), DATA)
            with pytest.raises(BlobUnavailable, match="not on this node"):
                await own.node.read(ref(2), 0, 3, -1)
            assert own.damaged == []
            made.damage()
            with pytest.raises(BlobUnavailable, match="damaged"):
                await own.node.read(ref(1), 0, len(DATA), -1)
            assert own.damaged == [(0, blob(1))]

    bench(case)


def test_only_who_holds_a_group_lists_it() -> None:
    async def case(made: Bench) -> None:
        async with local(made) as own:
            await put(own.node, ref(1), b"one")
            assert [held.blob for held in await own.node.blobs(0, b"", 0)] == [blob(1)]
            own.holds = False
            with pytest.raises(OSError, match="does not have all of group 0"):
                await own.node.blobs(0, b"", 0)

    bench(case)


@pytest.mark.parametrize(
    ("targets", "down", "full", "holders"),
    [
        ("own p q", "", "", "own p q"),
        ("p own q", "", "", "own p q"),  # a gateway may have an older map
        ("own p q", "p", "", "own q"),
        ("own p q", "", "p", "own q"),
        ("own p q r", "", "", "own p q r"),
    ],
)
def test_a_write_is_forwarded_to_the_targets_that_can_take_it(targets: str, down: str, full: str, holders: str) -> None:
    async def case(made: Bench) -> None:
        made.place(targets.split(), [], down=down, full=full)
        async with local(made) as own:
            _, found = await put(own.node, ref(1), DATA, leads=True)
            assert found == holders.split()
            for name, peer in made.peers.all.items():
                assert peer.asked[:1] == (["create"] if name in found else [])  # never to lead

    bench(case)


@pytest.mark.parametrize("trouble", ["no quorum", "aborted behind the commit"])
def test_a_write_that_does_not_stand_leaves_nothing_here(trouble: str) -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p", "q"], [])
        made.peers["p"].is_dead = made.peers["q"].is_dead = trouble == "no quorum"
        async with local(made) as own:
            writer = await own.node.create(ref(1), len(DATA), leads=True)
            await writer.write(DATA)
            if trouble == "no quorum":
                with pytest.raises(OSError, match="1 of 2 copies"):
                    await writer.commit()
            else:
                await writer.commit()
            await writer.abort()
            assert (names(made.store), made.store.is_arriving(0, blob(1))) == ([], False)
            assert own.damaged == []

    bench(case)


def test_a_write_that_is_released_while_it_arrives_fails() -> None:
    async def case(made: Bench) -> None:
        async with local(made) as own:
            writer = await own.node.create(ref(1), 3, leads=False)
            with pytest.raises(BlobExists):
                await own.node.create(ref(1), 3, leads=False)
            await writer.write(b"one")
            made.store.release(0, [blob(1)])
            with pytest.raises(OSError, match="released while it arrived"):
                await writer.commit()
            await writer.abort()
            assert names(made.store) == []

    bench(case)
