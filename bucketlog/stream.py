"""The events of a partition from a position on: those that count by the reader's rule (`topics.reader`).

A position "partition:offset:epoch:sequence" is that of a record that counts, with the state of the rule behind it; what
comes is what is behind the record. A short one, "partition:offset", begins with the record at the offset; the rule needs
the claims before it, so the partition is read from its beginning.
A long position as a line told it is right for ever. One that was put together may name a void record, and what the rule
says from there is wrong. So it is held against its record; and where something behind it is void that would count had a
claim or a decision not been overlooked, it is held against all that is before. What nobody notices is the position of a
record's second copy, where the second copies of those behind it come next.
Errors: `WrongPosition`; `UnknownRecord`, `LogError` of the log.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple

from topics import events
from topics.log import Log, LogError, OffsetTrimmed, Record, decoded
from topics.reader import ReaderState, state_behind
from topics.spec import TopicPartition


class WrongPosition(ValueError):
    """No record of this log that counts has that position."""


class Start(NamedTuple):
    offset: int  # the first that is wanted
    state: ReaderState | None = None  # of the rule before it, where that is known


def position(partition: int, offset: int, decision: events.Decision) -> str:
    behind = state_behind(decision)
    return f"{partition}:{offset}:{behind.epoch}:{behind.sequence}"


def parse(text: str) -> tuple[int, Start]:
    """The partition, and where to start in it. Raises `ValueError` for what is no position."""
    match [int(each) for each in text.split(":")]:
        case [partition, offset]:
            return partition, Start(offset)
        case [partition, offset, epoch, sequence]:
            return partition, Start(offset + 1, ReaderState(epoch, sequence))
        case _:
            raise ValueError(f"{text!r} is no position")


async def check(log: Log, at: TopicPartition, start: Start) -> None:
    """That the record which a long position names is there and is what it says. Raises `WrongPosition`."""
    if start.state is None:
        return
    try:
        records = await log.read(at, start.offset - 1, records_max=1) if start.offset > 0 else []
    except OffsetTrimmed:
        raise WrongPosition(f"the events of {at.partition} behind that position are not kept any more") from None
    if records and records[0].offset == start.offset - 1:
        decision = decoded(at, records[0], events.decode)
        if state_behind(decision) == start.state:
            return
    raise WrongPosition(f"no event of {at.partition} has that position")


async def follow(log: Log, at: TopicPartition, start: Start) -> AsyncIterator[tuple[Record, events.Decision]]:
    """What counts, for ever."""
    offset, state, is_proven = start.offset, start.state, start.state is None
    if state is None:
        offset, state = await log.earliest(at), ReaderState()
    async for batch in log.follow(at, offset):
        for record in batch:
            decision = decoded(at, record, events.decode)
            accepted = state.accept(decision)
            if accepted is not None:
                state = accepted
                if record.offset >= start.offset:
                    yield record, decision
            elif not is_proven and _is_doubtful(state, decision):
                if await _state_before(log, at, record.offset) != state:
                    raise WrongPosition(f"the stream of {at.partition} was started at no event that counts")
                is_proven = True


def _is_doubtful(state: ReaderState, void: events.Decision) -> bool:
    """Whether `void` may be void only because `state` lacks a claim or a decision that is before it."""
    if isinstance(void.event, events.Claimed):
        return False
    return (void.epoch, void.sequence) > (state.epoch, state.sequence + 1)


async def _state_before(log: Log, at: TopicPartition, end: int) -> ReaderState:
    state, offset = ReaderState(), await log.earliest(at)
    while offset < end:
        records = await log.read(at, offset)
        if not records:
            raise LogError(f"{at.topic}:{at.partition} cannot be read up to {end}; check the brokers")
        for record in records:
            if record.offset < end:
                state = state.accept(decoded(at, record, events.decode)) or state
        offset = records[-1].offset + 1
    return state
