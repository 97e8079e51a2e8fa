"""Topics that are followed though they cannot be read for a moment: nothing is missed, and what lasts is told."""

import asyncio

import pytest

from tests import virtual
from tests.unread import Unread
from topics import spec
from topics.following import AGAIN_S, FAILURES_MAX, WELL_S, followed
from topics.log import Entry, LogError, OffsetTrimmed
from topics.spec import TopicPartition

AT = TopicPartition("owners", 0)


class Bench:
    def __init__(self) -> None:
        self.log = Unread("the log", virtual.now_ms)
        self.read: list[bytes] = []

    async def follow(self) -> None:
        async for batch in followed(self.log, AT, self.log.earliest):
            self.read += [each.value for each in batch]

    async def say(self, *values: bytes) -> None:
        await self.log.append(AT, [Entry(b"", value) for value in values], durable=True)


async def bench() -> Bench:
    made = Bench()
    await made.log.create_topics(spec.CLUSTER)
    return made


def test_nothing_is_missed_nor_read_twice() -> None:
    async def case() -> None:
        made = await bench()
        following = asyncio.create_task(made.follow())
        for number in range(3 * FAILURES_MAX):
            made.log.fails = True
            await made.say(b"%d" % number)
            await asyncio.sleep(AGAIN_S)
            made.log.fails = False
            await asyncio.sleep(WELL_S)
        assert made.read == [b"%d" % number for number in range(3 * FAILURES_MAX)]
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    virtual.run(case())


def test_what_does_not_end_is_told() -> None:
    async def case() -> None:
        made = await bench()
        made.log.fails = True
        await made.say(b"x")
        with pytest.raises(LogError):
            await asyncio.wait_for(made.follow(), FAILURES_MAX * AGAIN_S)

    virtual.run(case())


def test_what_was_trimmed_is_told_at_once() -> None:
    async def case() -> None:
        made = await bench()
        following = asyncio.create_task(made.follow())
        await made.say(b"x")
        await asyncio.sleep(AGAIN_S)
        made.log.fails = True
        await made.say(b"y")
        await asyncio.sleep(AGAIN_S / 2)
        await made.say(b"z")
        await made.log.trim(AT, 2)
        made.log.fails = False
        with pytest.raises(OffsetTrimmed):
            await asyncio.wait_for(following, AGAIN_S)

    virtual.run(case())
