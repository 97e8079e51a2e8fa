"""The embedded log on a disk that is full at any moment: it recovers, and keeps what it promised."""

import asyncio
from pathlib import Path

import pytest

from tests.disks.faulty import FaultyDisk
from tests.topics.two_topics import COMMANDS, EVENTS, SPECS, others_done
from topics.disk import Disk, OsDisk
from topics.embedded import MANIFEST, EmbeddedLog, mended
from topics.log import Entry, LogError
from topics.log_disk import OneDisk
from topics.mirror import MirroredDisk
from topics.spec import TopicPartition

ROUNDS = 12
SEGMENT_BYTES = 4_000  # a roll each third round


async def opened(disk: Disk, root: Path, others: int) -> EmbeddedLog:
    """On it alone, or as a mirror with others, which are never full."""
    if not others:
        return await EmbeddedLog.open(OneDisk(disk), lambda: 1, segment_bytes=SEGMENT_BYTES)
    mirror = await MirroredDisk.open_all(
        {"full": disk} | {str(each): OsDisk(root / str(each)) for each in range(others)}, MANIFEST, mended
    )
    log = await EmbeddedLog.open(mirror, lambda: 1, segment_bytes=SEGMENT_BYTES)
    await mirror.admit()
    return log


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


@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("left", range(44))
def test_a_full_disk_costs_what_was_refused_and_no_more(left: int, others: int, tmp_path: Path) -> None:
    async def run() -> None:
        disk = FaultyDisk(OsDisk(tmp_path / "full"))
        log = await opened(disk, tmp_path, others)
        await log.create_topics(SPECS)
        disk.left = left
        sent, taken = await fill(log)
        await others_done()
        assert disk.left is None
        assert len(taken) in (ROUNDS - 1, ROUNDS)  # what fails beside the writes is tried again, and costs nobody anything
        assert (await values(log, COMMANDS), await values(log, EVENTS)) == (sent, taken)
        await log.close()
        disk.close()

        disk_again = OsDisk(tmp_path / "full")
        again = await opened(disk_again, tmp_path, others)
        assert (await values(again, COMMANDS), await values(again, EVENTS)) == (sent, taken)
        await again.append(EVENTS, [Entry(b"", b"zz")], durable=True)
        assert await values(again, EVENTS) == [*taken, b"zz"]
        await again.close()
        disk_again.close()

    asyncio.run(run())


@pytest.mark.parametrize("full", [0, SEGMENT_BYTES], ids=["", "then the journal rolls"])
@pytest.mark.parametrize("pending", [0, 1])
def test_an_offset_that_was_burned_is_not_given_again(pending: int, full: int, tmp_path: Path) -> None:
    """A reader may have seen what was there, and goes on behind it: after a crash, too, once it knows all before durable.
    `pending`: records before it that nobody waits for, which stay."""

    async def crash() -> int:
        disk = FaultyDisk(OsDisk(tmp_path))
        log = await opened(disk, tmp_path, 0)
        await log.create_topics(SPECS)
        await log.append(COMMANDS, [Entry(b"", b"1")], durable=True)
        for _ in range(pending):
            await log.append(COMMANDS, [Entry(b"", b"2")], durable=False)
        disk.left = 0
        with pytest.raises(LogError):
            await log.append(COMMANDS, [Entry(b"", b"3")], durable=True)
        seen = await log.latest(COMMANDS)
        assert seen == 2 + pending
        if full:
            await log.append(EVENTS, [Entry(b"", bytes(full))], durable=True)
        await log.append(COMMANDS, [], durable=True)
        return seen

    async def again(seen: int) -> None:
        log = await opened(OsDisk(tmp_path), tmp_path, 0)
        assert await values(log, COMMANDS) == [b"1", b"2"][: 1 + pending]
        assert await log.append(COMMANDS, [Entry(b"", b"4")], durable=True) == [seen]
        await log.close()

    asyncio.run(again(asyncio.run(crash())))


def test_where_all_is_durable_a_sync_writes_nothing(tmp_path: Path) -> None:
    def written() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    async def case() -> None:
        log = await EmbeddedLog.open(OneDisk(OsDisk(tmp_path)), lambda: 1)
        await log.create_topics(SPECS)
        await log.append(EVENTS, [Entry(b"", b"event")], durable=True)
        before = written()
        await log.append(COMMANDS, [], durable=True)
        assert written() == before
        await log.append(COMMANDS, [Entry(b"", b"command")], durable=False)
        await log.append(EVENTS, [], durable=True)
        assert written() != before
        await log.close()

    asyncio.run(case())


def test_who_reads_all_there_is_lets_others_run(tmp_path: Path) -> None:
    """A view that is folded anew, and a signal that is to stop the process."""

    async def case() -> None:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        log = await EmbeddedLog.open(OneDisk(OsDisk(tmp_path)), lambda: 1, segment_bytes=1 << 20)
        await log.create_topics(SPECS)
        for _ in range(10):
            await log.append(EVENTS, [Entry(b"", bytes(200))] * 1_000, durable=True)
        await others_done()
        other = asyncio.create_task(others())
        offset, before = 0, turns
        while batch := await log.read(EVENTS, offset):
            offset = batch[-1].offset + 1
        assert (offset, turns - before >= 9) == (10_000, True)  # from the archive, and from memory
        other.cancel()
        await log.close()

    asyncio.run(case())
