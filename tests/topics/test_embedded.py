"""The embedded log on a disk that is full at any moment: it recovers, and keeps what it promised."""

import asyncio
from pathlib import Path

import pytest

from tests.topics.full import FullDisk
from topics.disk import OsDisk
from topics.embedded import EmbeddedLog
from topics.log import Entry, LogError
from topics.spec import TopicPartition, TopicSpec, Visible

COMMANDS, EVENTS = TopicPartition("commands", 0), TopicPartition("events", 0)
SPECS = (TopicSpec("commands", 1, Visible.APPENDED, kept=False), TopicSpec("events", 1, Visible.DURABLE, kept=True))
ROUNDS = 12
SEGMENT_BYTES = 4_000  # a roll each third round


async def values(log: EmbeddedLog, at: TopicPartition) -> list[bytes]:
    found: list[bytes] = []
    offset = 0
    while batch := await log.read(at, offset):
        assert [each.offset for each in batch] == sorted({each.offset for each in batch})
        assert batch[0].offset >= offset
        found += [each.value[:2] for each in batch]
        offset = batch[-1].offset + 1
    return found


async def fill(log: EmbeddedLog) -> tuple[list[bytes], list[bytes]]:
    """The commands and the events that the log took; an event that it refused is not asked for again."""
    sent, taken = [], []
    for number in range(ROUNDS):
        name = b"%02d" % number
        await log.append(COMMANDS, [Entry(b"", name + bytes(200))], durable=False)
        sent.append(name)
        try:
            await log.append(EVENTS, [Entry(b"", name + bytes(1_000))], durable=True)
            taken.append(name)
        except LogError:
            continue
    return sent, taken


@pytest.mark.parametrize("left", range(46))
def test_a_full_disk_costs_what_was_refused_and_no_more(left: int, tmp_path: Path) -> None:
    async def run() -> None:
        disk = FullDisk(tmp_path)
        log = EmbeddedLog(disk, lambda: 1, segment_bytes=SEGMENT_BYTES)
        await log.create_topics(SPECS)
        disk.left = left
        sent, taken = await fill(log)
        assert disk.left is None
        assert len(taken) == ROUNDS - 1
        assert (await values(log, COMMANDS), await values(log, EVENTS)) == (sent, taken)
        await log.close()
        disk.close()

        disk_again = OsDisk(tmp_path)
        again = EmbeddedLog(disk_again, lambda: 1, segment_bytes=SEGMENT_BYTES)
        assert (await values(again, COMMANDS), await values(again, EVENTS)) == (sent, taken)
        await again.append(EVENTS, [Entry(b"", b"zz")], durable=True)
        assert await values(again, EVENTS) == [*taken, b"zz"]
        await again.close()
        disk_again.close()

    asyncio.run(run())
