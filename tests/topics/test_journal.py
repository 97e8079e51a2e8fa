"""The journal where a process ends at any step of its work, and the next one, too: no start is refused, nothing is lost."""

import contextlib
import random

import pytest

from tests.disks.faulty import FaultyDisk
from tests.disks.fused import Data, Fuse, FusedDisk, FusedFile
from tests.simulation.disk import SECTOR, SimulatedDisk
from tests.topics.two_topics import COMMANDS, EVENTS, SPECS, others_done
from tests.virtual import run
from topics.disk import Disk, File
from topics.embedded import EmbeddedLog
from topics.log import Entry, LogError
from topics.log_disk import OneDisk

SEGMENT_BYTES = 4_000
ROUNDS = 10  # some rolls
TORN = b"torn"


async def opened(disk: Disk) -> EmbeddedLog:
    return await EmbeddedLog.open(OneDisk(disk), lambda: 1, segment_bytes=SEGMENT_BYTES)


def filled(disk: Disk) -> list[bytes]:
    """What was acknowledged until the process ended."""
    taken: list[bytes] = []

    async def fill() -> None:
        log = await opened(disk)
        await log.create_topics(SPECS)
        for number in range(ROUNDS):
            await log.append(COMMANDS, [Entry(b"", bytes(200))], durable=False)
            await log.append(EVENTS, [Entry(b"", b"%02d" % number + bytes(1_000))], durable=True)
            taken.append(b"%02d" % number)
            await log.trim(COMMANDS, await log.latest(COMMANDS))
        await others_done()

    with contextlib.suppress(Exception):  # the log tells of it as of an error of the disk
        run(fill())
    return taken


class TearingFile(FusedFile):
    async def write_synced(self, data: Data, at: int) -> None:
        if TORN not in bytes(data):
            return await super().write_synced(data, at)
        await super().write_synced(data[:SECTOR], at)
        await super().write_synced(data[2 * SECTOR :], at + 2 * SECTOR)
        raise RuntimeError("the process ended")


class TearingDisk(FusedDisk):
    """It has all but the second sector of a batch in which it is named."""

    def open(self, path: str) -> File:
        return TearingFile(self._disk.open(path), Fuse())


def broken_off(disk: Disk) -> None:
    """A process ends in the middle of its first batch."""

    async def write() -> None:
        log = await opened(TearingDisk(disk, Fuse()))
        await log.create_topics(SPECS)
        with pytest.raises(LogError):
            await log.append(EVENTS, [Entry(b"", TORN + b"x" * 600)] * 3, durable=True)

    run(write())


def seen(disk: Disk) -> list[bytes]:
    async def read() -> list[bytes]:
        log = await opened(disk)
        await log.create_topics(SPECS)
        found, offset = list[bytes](), 0
        while batch := await log.read(EVENTS, offset):
            found += [each.value for each in batch]
            offset = batch[-1].offset + 1
        await log.append(EVENTS, [Entry(b"", b"goes on")], durable=True)
        assert await log.read(EVENTS, offset)
        await log.close()
        return [value[:2] for value in found]

    return run(read())


@pytest.mark.parametrize("is_cut", [False, True], ids=["killed", "cut"])
def test_a_torn_first_batch_behind_a_process_that_ended_at_any_step(is_cut: bool) -> None:
    unbroken = Fuse()
    assert len(filled(FusedDisk(SimulatedDisk(random.Random(0)), unbroken))) == ROUNDS
    assert unbroken.spent > 2 * ROUNDS
    for left in range(unbroken.spent + 1):
        disk = SimulatedDisk(random.Random(left))
        taken = filled(FusedDisk(disk, Fuse(left, RuntimeError("the process ended"))))
        if is_cut:
            disk.power_cut()
        broken_off(disk)
        found = seen(disk)
        assert found[: len(taken)] == taken, left
        assert set(found[len(taken) :]) <= {b"%02d" % len(taken), TORN[:2]}, left


def test_a_damaged_head_is_told_where_batches_follow() -> None:
    """Else the segment would be taken for one that was prepared, and removed."""
    for at in range(0, 300, 7):
        disk = SimulatedDisk(random.Random(at))
        filled(disk)
        [*_, last] = [file for file in disk.files("journal").values() if any(file.data)]
        last.flip(at, 1)
        with pytest.raises(Exception, match="is damaged at byte"):
            seen(disk)


def test_what_a_failed_write_left_never_comes_back() -> None:
    """Its frames are as long as those of the batch that takes its place, so that what is left of it could follow them."""

    async def case() -> list[bytes]:
        disk = FaultyDisk(SimulatedDisk(random.Random(0)))
        log = await opened(disk)
        await log.create_topics(SPECS)
        await log.append(EVENTS, [Entry(b"", b"00" + bytes(100))], durable=True)
        disk.left = 0  # the next write is done by half
        with pytest.raises(LogError):
            await log.append(EVENTS, [Entry(b"", b"01" + bytes(100))] * 8, durable=True)
        await log.append(EVENTS, [Entry(b"", b"02" + bytes(100))], durable=True)
        return [record.value[:2] for record in await (await opened(disk.inner)).read(EVENTS, 0)]

    assert run(case()) == [b"00", b"02"]
