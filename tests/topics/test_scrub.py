"""The scrub of the log: damage to one copy of any file is mended from another, and what cannot be mended is told."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests import virtual
from tests.disks.faulty import SECTOR_BYTES, FaultyDisk
from tests.simulation.disk import SimulatedDisk
from tests.topics.two_topics import COMMANDS, EVENTS, SPECS, others_done
from topics.embedded import MANIFEST, EmbeddedLog, mended
from topics.log import Entry
from topics.log_disk import OneDisk
from topics.mirror import MirroredDisk
from topics.scrub import LogScrub

SEGMENT_BYTES = 20_000
EVENT_BYTES = 3_000


class Kept:
    """A log with several archive files and sealed segments."""

    def __init__(self, disks: int) -> None:
        self.disks = [FaultyDisk(SimulatedDisk(random.Random(number))) for number in range(disks)]

    async def open(self) -> EmbeddedLog:
        if len(self.disks) == 1:
            return await EmbeddedLog.open(OneDisk(self.disks[0]), lambda: 1, segment_bytes=SEGMENT_BYTES)
        disks = {str(number): disk for number, disk in enumerate(self.disks)}
        mirror = await MirroredDisk.open_all(disks, MANIFEST, mended)
        log = await EmbeddedLog.open(mirror, lambda: 1, segment_bytes=SEGMENT_BYTES)
        await mirror.admit()
        return log

    async def filled(self) -> EmbeddedLog:
        log = await self.open()
        await log.create_topics(SPECS)
        await log.append(COMMANDS, [Entry(b"", b"held")], durable=True)  # so that segments stay
        for number in range(30):
            await log.append(EVENTS, [Entry(b"", b"%02d" % number + bytes(EVENT_BYTES))], durable=True)
        await others_done()
        folders = [path.partition("/")[0] for path in log.files()]
        assert folders.count("archive") > 2
        assert folders.count("journal") > 2
        return log

    def content(self, number: int, path: str) -> bytearray:
        inner = self.disks[number].inner
        assert isinstance(inner, SimulatedDisk)
        return inner.files(path.rpartition("/")[0])[path].data


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr("topics.archive.FILE_BYTES", 16_000)
    yield caplog


def run(disks: int, case: Callable[[Kept, EmbeddedLog], Awaitable[None]]) -> None:
    async def whole() -> None:
        kept = Kept(disks)
        log = await kept.filled()
        await case(kept, log)
        await log.close()

    virtual.run(whole())


@pytest.mark.parametrize("harmed", [0, 1])
def test_a_flipped_bit_in_any_file_is_mended(harmed: int, told: pytest.LogCaptureFixture) -> None:
    async def case(kept: Kept, log: EmbeddedLog) -> None:
        before = {path: bytes(kept.content(harmed, path)) for path in log.files()}
        for path in log.files():
            kept.content(harmed, path)[len(before[path].rstrip(b"\0")) // 2] ^= 4
        scrub = LogScrub(log)
        await scrub.scrub()
        assert (scrub.verified, scrub.damaged) == (len(before), {})
        assert {path: bytes(kept.content(harmed, path)) for path in before} == before
        assert told.messages == []

    run(2, case)


@pytest.mark.parametrize("harmed", [0, 1])
def test_a_sector_that_cannot_be_read_in_any_file_is_written_again(harmed: int) -> None:
    async def case(kept: Kept, log: EmbeddedLog) -> None:
        before = {path: bytes(kept.content(harmed, path)) for path in log.files()}
        for path in log.files():
            kept.disks[harmed].break_sector(path, len(before[path]) // 2)
        scrub = LogScrub(log)
        await scrub.scrub()
        assert (scrub.verified, scrub.damaged, kept.disks[harmed].bad) == (len(before), {}, set())
        assert {path: bytes(kept.content(harmed, path)) for path in before} == before

    run(2, case)


@pytest.mark.parametrize("disks", [1, 2])
@pytest.mark.parametrize("kind", ["bit", "sector"])
def test_what_no_copy_has_is_told_and_left_as_it_is(disks: int, kind: str, told: pytest.LogCaptureFixture) -> None:
    async def case(kept: Kept, log: EmbeddedLog) -> None:
        path = log.files()[0]
        before = bytes(kept.content(0, path))
        at = SECTOR_BYTES + 10
        for number, disk in enumerate(kept.disks):
            if kind == "bit":
                kept.content(number, path)[at] ^= 1 << number
            else:
                disk.break_sector(path, at)
        scrub = LogScrub(log)
        await scrub.scrub()
        assert list(scrub.damaged) == [path]
        [line] = told.messages
        assert f"{path} has no whole copy" in line
        assert "restore the file" in line
        for number, disk in enumerate(kept.disks):
            disk.heal()
            if kind == "bit":
                kept.content(number, path)[:] = before
            assert bytes(kept.content(number, path)) == before
        await scrub.scrub()
        assert scrub.damaged == {}

    run(disks, case)


def test_a_pass_that_was_broken_off_goes_on_behind_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topics.scrub.STORED_EVERY", 1)

    async def case(kept: Kept, log: EmbeddedLog) -> None:
        slow = LogScrub(log, bytes_per_s=10_000)
        scrubbing = asyncio.create_task(slow.scrub())
        await asyncio.sleep(3)
        scrubbing.cancel()
        files = len(log.files())
        assert 0 < slow.verified < files
        await log.close()
        again = await kept.open()
        rest = LogScrub(again)
        await rest.scrub()
        assert slow.verified + rest.verified in (files, files + 1)  # one may be read twice
        await rest.scrub()
        assert rest.verified > files
        await again.close()

    run(2, case)


def test_files_that_go_meanwhile_are_not_made_anew() -> None:
    async def case(kept: Kept, log: EmbeddedLog) -> None:
        listed = log.files()
        await log.trim(EVENTS, 20)
        left = log.files()
        assert len(left) < len(listed)
        gone = [path for path in listed if path not in left]
        assert [await log.check(path) for path in gone] == [0] * len(gone)
        assert {name for disk in kept.disks for name in disk.names("archive/events/0000")} == {
            path.rpartition("/")[2] for path in left if path.startswith("archive")
        }

    run(2, case)
