"""Reads that go on, and owners that wait for them: in one process, and over a log with gateways that fall silent."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from gateway import open_reads
from gateway.errors import S3Error
from gateway.open_reads import OpenReads, ReadEnded
from processors.readers import GONE_S, LogReaders
from tests.unread import Unread
from tests.virtual import now_ms, run
from topics import readers, spec
from topics.following import AGAIN_S, FAILURES_MAX
from topics.log import Entry, LogError
from topics.memory import MemoryLog
from topics.readers import AT, LEASE_S, Reading


class Clock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def test_what_was_marked_is_past_when_no_read_goes_on_that_began_before() -> None:
    async def case() -> None:
        reads = OpenReads(clock_s=Clock())
        early = await reads.begin()
        mark = await reads.mark()
        late = await reads.begin()
        assert not reads.is_past(mark)
        reads.end(early)
        assert reads.is_past(mark)
        assert not reads.is_past(await reads.mark())
        reads.end(late)
        reads.end(late)
        assert reads.is_past(mark + 1)

    run(case())


def test_reads_may_end_in_any_order() -> None:
    async def case() -> None:
        reads = OpenReads(clock_s=Clock())
        opened, marks = [], []
        for _ in range(3):
            opened.append(await reads.begin())
            marks.append(await reads.mark())
        reads.end(opened[1])
        assert [reads.is_past(mark) for mark in marks] == [False, False, False]
        reads.end(opened[0])
        assert [reads.is_past(mark) for mark in marks] == [True, True, False]

    run(case())


def test_a_read_that_takes_too_long_is_ended() -> None:
    async def case() -> None:
        clock = Clock()
        reads = OpenReads(10.0, clock)
        read, mark = await reads.begin(), await reads.mark()
        clock.s = 9.9
        reads.check(read)
        assert not reads.is_past(mark)
        clock.s = 10.0
        assert reads.is_past(mark)
        with pytest.raises(ReadEnded):
            reads.check(read)
        reads.end(read)

    run(case())


def test_without_a_lease_no_read_begins_and_those_that_go_on_end() -> None:
    async def case() -> None:
        clock = Clock()
        reads = OpenReads(clock_s=clock, needs_lease=True)
        with pytest.raises(S3Error, match="ServiceUnavailable"):
            await reads.begin()
        reads.hold(5.0)
        read = await reads.begin()
        clock.s = 5.1
        waiting = asyncio.ensure_future(reads.begin())
        await asyncio.sleep(1)
        reads.hold(9.0)  # its word came through, but late: an owner may have counted it out
        with pytest.raises(ReadEnded):
            reads.check(read)
        reads.check(await waiting)

    run(case())


class Cluster:
    """One owner, and gateways, on one log."""

    def __init__(self) -> None:
        self.log = MemoryLog("the log", lambda: 1)
        self.clock_s = asyncio.get_running_loop().time
        self.owner = LogReaders(self.log, "owner", self.clock_s)

    @contextmanager
    def runs(self, *works: Awaitable[None]) -> Iterator[None]:
        tasks = [asyncio.ensure_future(work) for work in works]
        yield
        for task in tasks:
            task.cancel()

    def gateway(self, name: str = "one") -> tuple[OpenReads, list[Awaitable[None]]]:
        reads = OpenReads(clock_s=self.clock_s, needs_lease=True)
        return reads, [open_reads.follow(self.log, reads), open_reads.say(self.log, name, reads, self.clock_s)]

    async def wait(self, seconds: float) -> int:
        """With a mark each second, as the owner's housekeeping makes them; the last one."""
        mark = await self.owner.mark()
        for _ in range(int(seconds)):
            await asyncio.sleep(1)
            mark = await self.owner.mark()
        return mark


def cluster(case: Callable[[Cluster], Awaitable[None]]) -> None:
    async def whole() -> None:
        made = Cluster()
        await made.log.create_topics(spec.CLUSTER)
        with made.runs(made.owner.run()):
            await asyncio.sleep(0.1)
            await case(made)

    run(whole())


def test_an_owner_waits_for_a_gateway_s_oldest_read() -> None:
    async def case(made: Cluster) -> None:
        reads, works = made.gateway()
        with made.runs(*works):
            await made.wait(GONE_S + 3)
            early, mark = await reads.begin(), await made.owner.mark()
            await made.wait(2 * GONE_S)
            reads.check(early)
            assert not made.owner.is_past(mark)
            await reads.begin()  # another, after the mark: it refers to nothing of before
            reads.end(early)
            await made.wait(2)
            assert made.owner.is_past(mark)

    cluster(case)


def test_an_owner_that_has_just_started_knows_nobody_and_waits() -> None:
    async def case(made: Cluster) -> None:
        mark = await made.wait(1)
        assert not made.owner.is_past(mark)
        await made.wait(GONE_S + 2)
        assert made.owner.is_past(mark)  # there is no gateway

    cluster(case)


def test_a_gateway_that_fell_silent_has_ended_its_reads_before_its_owner_forgets_it() -> None:
    async def case(made: Cluster) -> None:
        reads, works = made.gateway()
        with made.runs(*works[:1]):
            speaking = asyncio.ensure_future(works[1])
            await made.wait(GONE_S + 3)
            read, mark = await reads.begin(), await made.owner.mark()
            await made.wait(2)
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
            made.log.land(
                AT, [Entry(b"", readers.encode(Reading("one", reads.oldest())))]
            )  # it was killed: it did not leave
            ended_s = None
            for _ in range(int(2 * GONE_S)):
                await made.wait(1)
                if ended_s is None:
                    try:
                        reads.check(read)
                    except ReadEnded:
                        ended_s = made.clock_s()
                if made.owner.is_past(mark):
                    break
            assert ended_s is not None
            assert made.clock_s() - ended_s >= GONE_S - LEASE_S - 2

    cluster(case)


def test_one_that_has_left_is_not_waited_for() -> None:
    async def case(made: Cluster) -> None:
        reads, works = made.gateway()
        with made.runs(*works):
            await made.wait(GONE_S + 3)
            await reads.begin()
            mark = await made.wait(2)
            assert not made.owner.is_past(mark)
        await made.wait(2)
        assert made.owner.is_past(mark)

    cluster(case)


def test_an_owner_that_was_paused_hears_what_was_said_meanwhile_before_it_counts_a_silence() -> None:
    async def case(made: Cluster) -> None:
        paused = [0.0]
        made.owner = LogReaders(made.log, "slow", lambda: made.clock_s() + paused[0])
        reads, works = made.gateway()
        with made.runs(made.owner.run(), *works):
            await asyncio.sleep(0.1)
            await made.wait(GONE_S + 3)
            read, mark = await reads.begin(), await made.owner.mark()
            await made.wait(2)
            paused[0] += 10 * GONE_S  # its clock went on, and it read nothing
            assert not made.owner.is_past(mark)
            await made.wait(1)
            reads.check(read)
            assert not made.owner.is_past(mark)

    cluster(case)


def test_a_word_that_no_codec_knows_may_be_of_a_reader() -> None:
    async def case(made: Cluster) -> None:
        await made.wait(GONE_S + 2)
        await made.log.append(AT, [Entry(b"", b"of a later release")], durable=True)
        mark = await made.wait(2)
        assert not made.owner.is_past(mark)
        await made.wait(GONE_S + 2)
        assert made.owner.is_past(mark)

    cluster(case)


def test_a_gateway_that_could_not_hear_of_marks_hears_of_them_again() -> None:
    async def case() -> None:
        log, reads = Unread("the log", now_ms), OpenReads()
        await log.create_topics(spec.CLUSTER)
        owner = LogReaders(log, "owner", asyncio.get_running_loop().time)
        following = asyncio.create_task(open_reads.follow(log, reads))
        await asyncio.sleep(0.1)
        for is_trimmed in (False, True):
            before = reads.moment
            log.fails = True
            mark = await owner.mark()
            await asyncio.sleep(AGAIN_S)
            assert reads.moment == before  # so that what is read meanwhile is stamped with less
            log.fails = False
            if is_trimmed:
                await log.trim(AT, mark + 1)
                mark = await owner.mark()
            await asyncio.sleep(2 * AGAIN_S)
            assert reads.moment == mark + 1
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    run(case())


def test_moments_that_would_come_again_end_a_gateway() -> None:
    async def case() -> None:
        log, reads = MemoryLog("the log", lambda: 1), OpenReads()
        await log.create_topics(spec.CLUSTER)
        reads.moment = 1  # as it was read of a log that has lost its end since
        with pytest.raises(LogError, match="lost its end"):
            await asyncio.wait_for(open_reads.follow(log, reads), 2 * FAILURES_MAX * AGAIN_S)

    run(case())
