"""Leases: who may answer reads, when owners race, pause and let go."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from processors.leases import AT, Leases, OwnerMap
from tests import virtual
from tests.unread import Unread
from topics import owners, spec
from topics.following import AGAIN_S, FAILURES_MAX
from topics.log import Entry, LogError
from topics.memory import MemoryLog
from topics.owners import LEASE_S, RENEW_S, Lease


class Bench:
    def __init__(self) -> None:
        self.log = MemoryLog("the log", lambda: 1)
        self.now_s = 100.0
        self._tasks: list[asyncio.Task[None]] = []

    async def leases(self, owner: str) -> Leases:
        made = Leases(self.log, owner, f"http://{owner}", lambda: self.now_s)
        self._tasks.append(asyncio.create_task(made.run()))
        await asyncio.sleep(0)
        return made

    async def say(self, owner: str, epochs: dict[int, int]) -> None:
        """What another process says."""
        lease = Lease(owner, f"http://{owner}", epochs)
        await self.log.append(AT, [Entry(b"", owners.encode(lease))], durable=True)

    async def heard(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()


def bench(case: Callable[[Bench], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Runs a case; returns the waits for leases of others, which move the clock and take no time here."""
    waits: list[float] = []
    sleep = asyncio.sleep
    made: list[Bench] = []

    async def at_once(seconds: float) -> None:
        if seconds in (0, RENEW_S):
            await sleep(3_600 * seconds)  # nobody renews in these cases
        else:
            waits.append(seconds)
            made[0].now_s += seconds

    monkeypatch.setattr("processors.leases.asyncio.sleep", at_once)

    async def run() -> None:
        made.append(Bench())
        await made[0].log.create_topics(spec.CLUSTER)
        await case(made[0])
        made[0].close()

    asyncio.run(run())
    return waits


def test_a_first_owner_need_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        leases = await at.leases("a")
        assert not leases.is_held(3)
        await leases.take(3, epoch=1)
        assert leases.is_held(3)
        assert not leases.is_held(4)
        at.now_s += LEASE_S
        assert not leases.is_held(3)  # nothing was said in the meantime

    assert bench(case, monkeypatch) == []


def test_the_next_owner_waits_for_the_lease_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        first, second = await at.leases("a"), await at.leases("b")
        await first.take(3, epoch=1)
        await second.take(3, epoch=2)
        assert second.is_held(3)
        assert not first.is_held(3)

    assert bench(case, monkeypatch) == [LEASE_S]


def test_who_fell_silent_is_waited_for_from_its_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        first, second = await at.leases("a"), await at.leases("b")
        await first.take(3, epoch=1)
        await at.heard()
        at.now_s += LEASE_S - 2
        await second.take(3, epoch=2)
        assert not first.is_held(3)

    assert bench(case, monkeypatch) == [2]


def test_nothing_is_held_while_another_lease_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[bool] = []

    async def case(at: Bench) -> None:
        await at.say("a", {3: 1})
        second = await at.leases("b")

        def clock_s() -> float:
            held.append(3 in second._until)
            return at.now_s

        monkeypatch.setattr(second, "_clock_s", clock_s)
        await second.take(3, epoch=2)
        assert second.is_held(3)

    bench(case, monkeypatch)
    assert held
    assert not any(held[:-1])


def test_an_owner_that_gives_back_does_not_speak_for_the_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        third = await at.leases("c")
        await at.say("a", {3: 1})
        await at.say("b", {3: 2})
        await at.say("b", {})  # it went while it still waited for a
        await third.take(3, epoch=3)

    assert bench(case, monkeypatch) == [LEASE_S]


def test_what_was_let_go_is_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        first, second = await at.leases("a"), await at.leases("b")
        await first.take(3, epoch=1)
        await first.let_go({3})
        assert not first.is_held(3)
        await second.take(3, epoch=2)
        assert second.is_held(3)

    assert bench(case, monkeypatch) == []


def test_an_owner_that_was_away_holds_nothing_by_what_it_says_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        first = await at.leases("a")
        await first.take(3, epoch=1)
        await first.take(4, epoch=1)
        await at.say("b", {3: 2})
        await first._say()  # its own word comes behind the other's
        assert not first.is_held(3)
        assert first.is_held(4)

    bench(case, monkeypatch)


def test_a_claim_again_by_the_same_owner_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        leases = await at.leases("a")
        await leases.take(3, epoch=1)
        await leases.take(3, epoch=2)
        assert leases.is_held(3)

    assert bench(case, monkeypatch) == []


def test_a_lease_counts_from_before_it_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        leases = await at.leases("a")
        at.log.hold.clear()
        taking = asyncio.create_task(leases.take(3, epoch=1))
        for _ in range(5):
            await asyncio.sleep(0)
        at.now_s += LEASE_S  # the log took its time to acknowledge
        at.log.hold.set()
        await taking
        at.now_s += 0.1
        assert leases.is_held(3)  # by the second word, said after the first was acknowledged
        at.now_s += LEASE_S - 0.1
        assert not leases.is_held(3)

    bench(case, monkeypatch)


def test_what_nobody_can_read_ends_what_is_held_until_a_new_claim_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        leases = await at.leases("a")
        await leases.take(3, epoch=1)
        await at.log.append(AT, [Entry(b"", b'{"version": 99}')], durable=True)
        await leases.displaced(3)
        assert not leases.is_held(3)
        await leases._say()
        assert not leases.is_held(3)  # not by what it says behind that
        assert not await leases.take(3, epoch=2)  # whose claim may be older than what was not read
        leases.before_claim(3)
        assert await leases.take(3, epoch=3)
        assert leases.is_held(3)

    assert bench(case, monkeypatch) == [LEASE_S]


def test_who_stands_in_for_one_that_fell_silent_is_one_of_those_that_did_not(monkeypatch: pytest.MonkeyPatch) -> None:
    partitions = range(16)

    async def case(at: Bench) -> None:
        here, there = await at.leases("b"), await at.leases("c")
        await at.say("a", dict.fromkeys(partitions, 1))
        orphans = [asyncio.create_task(each.orphaned()) for each in (here, there)]
        for _ in range(int(LEASE_S / RENEW_S)):
            assert not any(each.done() for each in orphans)
            at.now_s += RENEW_S
            await here._say()
            await there._say()
            await at.heard()
        mine, theirs = await asyncio.gather(*orphans)
        assert mine | theirs == set(partitions)
        assert not mine & theirs
        assert mine
        assert theirs

    bench(case, monkeypatch)


async def _stand_still(at: Bench) -> None:
    at.now_s += 10 * LEASE_S


async def _be_unreadable(at: Bench) -> None:
    at.now_s += LEASE_S - RENEW_S
    await at.log.append(AT, [Entry(b"", b'{"version": 99}')], durable=True)
    at.now_s += RENEW_S


def test_what_was_let_go_and_nobody_took_is_taken_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(at: Bench) -> None:
        here = await at.leases("b")
        await at.say("a", {3: 1, 4: 1})
        await at.say("a", {4: 1})
        orphaned = asyncio.create_task(here.orphaned())
        for _ in range(2):
            assert not orphaned.done()
            at.now_s += RENEW_S
            await here._say()
            await at.heard()
        assert await orphaned == {3}

    bench(case, monkeypatch)


@pytest.mark.parametrize("befall", [_stand_still, _be_unreadable])
def test_nobody_stands_in(befall: Callable[[Bench], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the topic stood still, where the next owner may speak what is not understood."""

    async def case(at: Bench) -> None:
        here = await at.leases("b")
        await at.say("a", {3: 1})
        orphaned = asyncio.create_task(here.orphaned())
        await befall(at)
        for _ in range(2):
            await here._say()
            await at.heard()
        assert not orphaned.done()
        orphaned.cancel()

    bench(case, monkeypatch)


def test_the_map_of_owners() -> None:
    owned = OwnerMap()
    assert owned.endpoint(3) is None
    assert owned.fold(Lease("a", "http://a", {3: 1, 4: 1})) == {3, 4}
    assert owned.fold(Lease("b", "http://b", {3: 2})) == {3}
    assert owned.fold(Lease("a", "http://a", {3: 1, 4: 1})) == {4}  # too late for 3
    assert (owned.endpoint(3), owned.endpoint(4)) == ("http://b", "http://a")
    assert owned.fold(Lease("a", "http://a", {})) == set()
    assert (owned.endpoint(3), owned.endpoint(4)) == ("http://b", None)


def test_an_earlier_word_that_comes_late_gives_nothing_away() -> None:
    known = OwnerMap()
    assert known.fold(Lease("a", "http://a", {3: 1}, number=2)) == {3}
    late = Lease("a", "http://a", {}, number=1)
    assert known.is_late(late)
    assert known.fold(late) == set()
    assert known.endpoint(3) == "http://a"
    assert known.fold(Lease("a", "http://a", {}, number=3)) == set()
    assert known.endpoint(3) is None


def test_an_owner_is_waited_for_though_its_earlier_word_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(made: Bench) -> None:
        here = await made.leases("b")
        for lease in (Lease("a", "http://a", {3: 1}, {3}, number=2), Lease("a", "http://a", {}, number=1)):
            await made.log.append(AT, [Entry(b"", owners.encode(lease))], durable=True)
        await made.heard()
        assert await here.take(3, 2)

    assert bench(case, monkeypatch) == [LEASE_S]


@asynccontextmanager
async def holding(log: MemoryLog) -> AsyncIterator[tuple[Leases, "asyncio.Task[None]"]]:
    """One that holds partition 3, and its work; to be used in virtual time."""
    await log.create_topics(spec.CLUSTER)
    leases = Leases(log, "a", "http://a", asyncio.get_running_loop().time)
    running = asyncio.create_task(leases.run())
    assert await leases.take(3, epoch=1)
    yield leases, running
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_who_cannot_hear_what_it_said_ends() -> None:
    """The words that fail to come are its own, mostly: it must not wait for them for ever, or nobody restarts it."""

    async def case() -> None:
        log = Unread("the log", virtual.now_ms)
        async with holding(log) as (leases, running):
            log.fails = True
            await asyncio.sleep(2 * RENEW_S)
            assert leases.is_held(3)
            with pytest.raises(LogError):
                await asyncio.wait_for(running, (FAILURES_MAX + 1) * AGAIN_S)
            await asyncio.sleep(LEASE_S)
            assert not leases.is_held(3)

    virtual.run(case())


def test_who_hears_again_in_time_holds_what_it_held() -> None:
    async def case() -> None:
        log = Unread("the log", virtual.now_ms)
        async with holding(log) as (leases, running):
            for _ in range(2 * FAILURES_MAX):
                log.fails = True
                await asyncio.sleep(2 * AGAIN_S)
                log.fails = False
                await asyncio.sleep(RENEW_S + AGAIN_S)
                assert leases.is_held(3)
            assert not running.done()

    virtual.run(case())


def test_what_is_gone_before_it_was_read_may_have_been_said_by_a_later_owner() -> None:
    async def case() -> None:
        log = Unread("the log", virtual.now_ms)
        async with holding(log) as (leases, running):
            log.fails = True
            await asyncio.sleep(2 * RENEW_S)
            later = Lease("b", "http://b", {3: 2}, number=1)
            await log.append(AT, [Entry(b"", owners.encode(later))], durable=True)
            await log.trim(AT, await log.latest(AT))
            log.fails = False
            await asyncio.wait_for(leases.displaced(3), RENEW_S)
            assert not leases.is_held(3)
            assert not running.done()
            leases.before_claim(3)
            assert await leases.take(3, epoch=3)
            assert leases.is_held(3)

    virtual.run(case())
