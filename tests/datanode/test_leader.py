"""A write through its leader: who must have it before it stands, and who does not hold it up."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from datanode.leader import SLOW_S, LeadingWriter
from datanode.node import QUORUM_S, TooFewCopies
from tests.datanode.bench import OWN, Bench, bench, ref
from tests.datanode.peers import Peer

CHUNK = bytes(1_000)


def leading(
    made: Bench, followers: str, *, local: str = OWN, chunks: int = 3, quorum: int = 2, quorum_s: float = QUORUM_S
) -> Awaitable[LeadingWriter]:
    """With a peer in memory in the place of its own volumes."""

    def create(peer: Peer) -> Callable[[], Awaitable[object]]:
        return lambda: peer.create(ref(1), chunks * len(CHUNK), leads=False)

    async def begin() -> LeadingWriter:
        own = made.peers.all.setdefault(local, Peer(local))
        writer = await own.create(ref(1), chunks * len(CHUNK), leads=False)
        creates = {name: create(made.peers[name]) for name in followers}
        return LeadingWriter(OWN, writer, creates, quorum, quorum_s)  # type: ignore[arg-type]

    return begin()


async def send(writer: LeadingWriter, chunks: int = 3) -> list[str]:
    for _ in range(chunks):
        await writer.write(CHUNK)
    return await writer.commit()


def have(made: Bench) -> str:
    """Who has the blob."""
    return " ".join(sorted(name for name, peer in made.peers.all.items() if peer.held[0]))


def test_all_who_sync_it_are_named() -> None:
    async def case(made: Bench) -> None:
        assert await send(await leading(made, "pq")) == [OWN, "p", "q"]
        assert have(made) == "own p q"

    bench(case)


def test_a_follower_that_syncs_late_holds_nothing_up_and_gets_it_all_the_same() -> None:
    async def case(made: Bench) -> None:
        made.peers["q"].slow_s = 0.3
        started = asyncio.get_running_loop().time()
        assert await send(await leading(made, "pq")) == [OWN, "p"]
        assert asyncio.get_running_loop().time() - started < 0.1
        await asyncio.sleep(2)
        assert have(made) == "own p q"

    bench(case)


@pytest.mark.parametrize("breaks", ["dead", "in the middle"])
def test_a_follower_that_dies_holds_nothing_up(breaks: str) -> None:
    async def case(made: Bench) -> None:
        made.peers["p"].is_dead = breaks == "dead"
        made.peers["p"].breaks_at = 1_500
        assert await send(await leading(made, "pq")) == [OWN, "q"]
        assert (have(made), made.peers["p"].aborted) == ("own q", 0 if breaks == "dead" else 1)

    bench(case)


def test_a_follower_that_takes_nothing_more_is_given_up_after_a_moment() -> None:
    async def case(made: Bench) -> None:
        made.peers["p"].slow_s = 60
        started = asyncio.get_running_loop().time()
        writer = await leading(made, "pq", chunks=200)
        assert await send(writer, 200) == [OWN, "q"]
        assert SLOW_S <= asyncio.get_running_loop().time() - started < 2 * SLOW_S
        await asyncio.sleep(100)
        assert have(made) == "own q"

    bench(case)


def test_a_quorum_is_waited_for() -> None:
    async def case(made: Bench) -> None:
        made.peers["p"].slow_s, made.peers["q"].slow_s = 0.2, 5
        assert await send(await leading(made, "pq")) == [OWN, "p"]

    bench(case)


def test_without_a_quorum_it_does_not_stand_and_nobody_keeps_it() -> None:
    async def case(made: Bench) -> None:
        made.peers["p"].is_dead = made.peers["q"].is_dead = True
        writer = await leading(made, "pq")
        await writer.write(CHUNK)
        await asyncio.sleep(0.01)
        with pytest.raises(TooFewCopies, match="only 1 of 2 copies could be written; not by p and q") as failure:
            await writer.write(CHUNK)  # the rest need not be sent
        assert failure.value.without == ["p", "q"]
        await writer.abort()
        assert made.peers[OWN].aborted == 1

    bench(case)


@pytest.mark.parametrize(("silent", "without"), [("pqr", ["p", "q", "r"]), ("pr", ["p", "r"])])
def test_who_does_not_answer_is_named_in_time(silent: str, without: list[str]) -> None:
    async def case(made: Bench) -> None:
        writer = await leading(made, "pqr", quorum=3, quorum_s=0.8)
        for _ in range(3):
            await writer.write(CHUNK)
        for name in silent:
            made.peers[name].slow_s = 60
        started = asyncio.get_running_loop().time()
        with pytest.raises(TooFewCopies) as failure:
            await writer.commit()
        assert asyncio.get_running_loop().time() - started == pytest.approx(0.8, abs=0.01)
        assert failure.value.without == without
        await writer.abort()

    bench(case)


@pytest.mark.parametrize("after", [0, 2])
def test_what_is_aborted_nobody_keeps(after: int) -> None:
    async def case(made: Bench) -> None:
        writer = await leading(made, "pq")
        for _ in range(after):
            await writer.write(CHUNK)
        await asyncio.sleep(0.01)
        await writer.abort()
        assert have(made) == ""
        assert [peer.aborted for peer in made.peers.all.values()] == [1, 1, 0, 1]

    bench(case)


def test_a_leader_that_cannot_write_is_a_failure_though_others_could() -> None:
    async def case(made: Bench) -> None:
        writer = await leading(made, "pq")
        made.peers[OWN].is_dead = True
        with pytest.raises(OSError, match="own is gone"):
            await send(writer)
        await writer.abort()

    bench(case)


def test_a_leader_whose_disk_hangs_does_not_wait_for_it() -> None:
    async def case(made: Bench) -> None:
        writer = await leading(made, "pq", quorum_s=0.8)
        for _ in range(3):
            await writer.write(CHUNK)
        made.peers[OWN].slow_s = 600
        started_s = asyncio.get_running_loop().time()
        with pytest.raises(OSError, match=r"the disk of own did not sync a blob within 0\.8 s"):
            await writer.commit()
        assert asyncio.get_running_loop().time() - started_s == pytest.approx(0.8, abs=0.01)

    bench(case)
