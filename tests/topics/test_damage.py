"""Bits flipped in the files of the embedded log: nothing wrong is read, and nothing is missing without a word."""

import asyncio
import os
import random
import shutil
from pathlib import Path

import pytest

from tests.flips import flip
from tests.topics.two_topics import COMMANDS, EVENTS, SPECS, others_done
from topics.disk import OsDisk
from topics.embedded import EmbeddedLog
from topics.log import Entry, LogCorrupt, LogError, Record
from topics.log_disk import OneDisk
from topics.spec import TopicPartition

FLIPS = int(os.environ.get("BUCKETLOG_TEST_FLIPS", "200"))
SEGMENT_BYTES = 20_000
Contents = dict[TopicPartition, list[Record]]


async def opened(folder: Path) -> EmbeddedLog:
    return await EmbeddedLog.open(OneDisk(OsDisk(folder)), lambda: 1, segment_bytes=SEGMENT_BYTES)


async def contents(log: EmbeddedLog) -> Contents:
    found: Contents = {}
    for at in (COMMANDS, EVENTS):
        found[at] = []
        offset = await log.earliest(at)
        while batch := await log.read(at, offset):
            found[at] += batch
            offset = batch[-1].offset + 1
    return found


async def fill(folder: Path, rounds: int) -> Contents:
    log = await opened(folder)
    await log.create_topics(SPECS)
    rng = random.Random(rounds)
    for _ in range(rounds):
        await log.append(COMMANDS, [Entry(b"c", rng.randbytes(300))], durable=False)
        await log.append(EVENTS, [Entry(b"e", rng.randbytes(300)) for _ in range(3)], durable=True)
        await log.trim(COMMANDS, max(0, await log.latest(COMMANDS) - 10))
    found = await contents(log)
    await log.close()
    return found


async def reopened(folder: Path) -> Contents:
    log = await opened(folder)
    await log.create_topics(SPECS)
    try:
        return await contents(log)
    finally:
        await log.close()


def written(path: Path) -> int:
    """Without the zeros ahead of the writer."""
    return len(path.read_bytes().rstrip(b"\0"))


def test_a_flipped_bit_is_told(tmp_path: Path) -> None:
    whole, rng = asyncio.run(fill(tmp_path / "whole", 100)), random.Random(1)
    files = {path.relative_to(tmp_path / "whole"): written(path) for path in (tmp_path / "whole").rglob("*.*")}
    assert {path.parts[0] for path in files} == {"journal", "archive", "log.json"}
    told = 0
    for _ in range(FLIPS):
        shutil.rmtree(tmp_path / "harmed", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "harmed")
        path = rng.choice(list(files))
        flip(tmp_path / "harmed" / path, rng.randrange(files[path]), 1 << rng.randrange(8))
        try:
            found = asyncio.run(reopened(tmp_path / "harmed"))
        except LogError:
            told += 1
            continue
        for at in (COMMANDS, EVENTS):  # what was trimmed may be there again
            assert found[at][-len(whole[at]) :] == whole[at], path
    assert told > FLIPS // 2


def test_damage_is_left_as_it_is(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path, 100))
    for path in (max(tmp_path.glob("journal/*")), max(tmp_path.glob("archive/*/*/*"))):
        before = path.read_bytes()
        flip(path, len(before.rstrip(b"\0")) // 2)
        harmed = path.read_bytes()
        for _ in range(2):
            with pytest.raises(LogCorrupt, match=f"{path.name} is damaged.*restore the file from a copy"):
                asyncio.run(reopened(tmp_path))
        assert path.read_bytes() == harmed
        path.write_bytes(before)
    asyncio.run(reopened(tmp_path))


def test_a_torn_last_batch_is_cut(tmp_path: Path) -> None:
    whole = asyncio.run(fill(tmp_path, 100))

    async def crash() -> None:
        log = await opened(tmp_path)
        await log.append(COMMANDS, [Entry(b"c", b"")], durable=True)
        await others_done()  # what the segments before hold is archived
        await log.append(EVENTS, [Entry(b"e", b"v" * 500) for _ in range(3)], durable=True)

    asyncio.run(crash())  # without a close
    last = max(tmp_path.glob("journal/*"))
    flip(last, last.read_bytes().rfind(b"v" * 500) - 200)
    found = asyncio.run(reopened(tmp_path))[EVENTS]
    assert (found[:-1], found[-1].value) == (whole[EVENTS], b"v" * 500)  # the first of the three
