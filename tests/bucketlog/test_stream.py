"""A stream of events that starts in the middle says what one from the beginning says, or that it cannot."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from bucketlog.events import _merge
from bucketlog.stream import Start, WrongPosition, check, follow, parse, position
from topics import events, spec
from topics.log import Entry
from topics.memory import MemoryLog
from topics.spec import TopicPartition

AT = TopicPartition("events", 0)
WAIT_S = 5.0
Written = tuple[int, int]  # epoch, sequence; 0 is a claim


def decision(epoch: int, sequence: int) -> bytes:
    event: events.Event = events.BucketDeleted(f"b{epoch}-{sequence}") if sequence else events.Claimed("owner")
    return events.encode(events.Decision(epoch, sequence, 0, 0, "root", "R", "", event))


class Events:
    def __init__(self) -> None:
        self.log = MemoryLog("the log", lambda: 1)

    async def write(self, *written: Written) -> None:
        await self.log.append(AT, [Entry(b"", decision(*each)) for each in written], durable=True)

    async def read(self, start: Start, count: int) -> list[str]:
        """The positions of the first that count."""
        found = []
        async for record, told in follow(self.log, AT, start):
            found.append(position(0, record.offset, told))
            if len(found) == count:
                break
        return found


def on(case: Callable[[Events], Awaitable[None]]) -> None:
    async def run() -> None:
        made = Events()
        await made.log.create_topics(spec.ALL)
        await asyncio.wait_for(case(made), WAIT_S)

    asyncio.run(run())


def test_each_position_is_enough_to_go_on_right_behind_it() -> None:
    async def case(at: Events) -> None:
        await at.write((1, 0), (1, 1), (1, 2), (2, 0), (1, 3), (2, 1), (2, 1), (3, 0), (2, 2), (3, 1))
        told = await at.read(Start(0), 7)
        assert told == ["0:0:1:0", "0:1:1:1", "0:2:1:2", "0:3:2:0", "0:5:2:1", "0:7:3:0", "0:9:3:1"]
        for number, each in enumerate(told[:-1], 1):
            partition, start = parse(each)
            await check(at.log, AT, start)
            assert (partition, await at.read(start, len(told) - number)) == (0, told[number:])

    on(case)


def test_nothing_before_a_position_is_read() -> None:
    async def case(at: Events) -> None:
        await at.write((1, 0), (1, 1), (1, 2))
        await at.log.trim(AT, 2)
        assert await at.read(parse("0:1:1:1")[1], 1) == ["0:2:1:2"]

    on(case)


def test_a_short_position_starts_with_its_record_by_the_rule_from_the_beginning() -> None:
    async def case(at: Events) -> None:
        await at.write((1, 0), (2, 0), (1, 1), (2, 1))
        assert await at.read(parse("0:2")[1], 1) == ["0:3:2:1"]

    on(case)


@pytest.mark.parametrize("wrong", ["0:1:1:2", "0:1:2:1", "0:0:1:1", "0:3:1:3", "0:99:1:1", "0:-1:0:0", "0:-5:1:1"])
def test_a_position_that_is_no_records_is_refused(wrong: str) -> None:
    async def case(at: Events) -> None:
        await at.write((1, 0), (1, 1), (1, 2))
        with pytest.raises(WrongPosition, match="no event of 0"):
            await check(at.log, AT, parse(wrong)[1])

    on(case)


def test_a_position_whose_successors_are_gone_is_refused() -> None:
    async def case(at: Events) -> None:
        await at.write((1, 0), (1, 1), (1, 2))
        await at.log.trim(AT, 2)
        with pytest.raises(WrongPosition, match="not kept any more"):
            await check(at.log, AT, parse("0:0:1:0")[1])

    on(case)


@pytest.mark.parametrize(
    ("written", "void"),
    [
        ([(1, 0), (1, 1), (2, 0), (1, 2), (2, 1)], "0:3:1:2"),  # a zombie's
        ([(1, 0), (1, 1), (1, 2), (1, 3), (1, 1), (1, 4)], "0:4:1:1"),  # landed twice
    ],
)
def test_the_position_of_a_void_record_ends_the_stream_before_an_event_is_missed(written: list[Written], void: str) -> None:
    async def case(at: Events) -> None:
        await at.write(*written)
        start = parse(void)[1]
        await check(at.log, AT, start)  # from the record alone nobody can tell
        with pytest.raises(WrongPosition, match="no event that counts"):
            await at.read(start, 1)

    on(case)


def test_what_is_void_from_the_beginning_on_is_void_behind_a_position_too() -> None:
    async def case(at: Events) -> None:
        await at.write((1, 0), (1, 1), (1, 3), (1, 4), (2, 0), (2, 1))  # an append in the middle was lost
        assert await at.read(parse("0:1:1:1")[1], 2) == (await at.read(Start(0), 4))[2:] == ["0:4:2:0", "0:5:2:1"]

    on(case)


@pytest.mark.parametrize("text", ["", "0", "0:1:2", "0:1:2:3:4", "0:x", "a:1"])
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


def test_a_stream_that_cannot_go_on_ends_with_an_error() -> None:
    async def case(at: Events) -> None:
        await at.write((1, 0), (1, 1))
        await at.log.append(AT, [Entry(b"", b"garbage")], durable=True)
        lines = [msgspec.json.decode(line) async for line in _merge(at.log, {0: Start(0), 1: Start(0)}, "")]
        assert [line.get("position", line.get("error")) for line in lines] == ["0:0:1:0", "0:1:1:1", "InternalError"]

    on(case)
