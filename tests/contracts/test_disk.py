"""The contract of the `Disk` port, over the real disk and every fake; and what the faulty one adds to it."""

import asyncio
import errno
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.disks.faulty import SECTOR_BYTES, FaultyDisk
from tests.disks.fused import Fuse, FusedDisk
from tests.faults.power import PowerDisk
from tests.simulation.disk import SimulatedDisk
from tests.virtual import run
from topics.disk import Disk, File, OsDisk

PATH = "folder/file"
BLOCK = 4096
KINDS: dict[str, Callable[[Path], Disk]] = {
    "real": OsDisk,
    "simulated": lambda _: SimulatedDisk(random.Random(1)),
    "fused": lambda root: FusedDisk(OsDisk(root), Fuse()),
    "power": PowerDisk,
    "faulty": lambda root: FaultyDisk(OsDisk(root)),
    "faulty simulated": lambda _: FaultyDisk(SimulatedDisk(random.Random(1))),
}


def reads_what_was_written_and_less_only_at_the_end(disk: Disk) -> None:
    file = disk.open(PATH)
    assert (file.size(), file.read(10, 0)) == (0, b"")
    file.write(b"abcdef", 0)
    file.write(bytearray(b"XY"), 2)
    file.write(memoryview(b"far"), 10)
    assert file.read(100, 0) == b"abXYef\0\0\0\0far"
    assert (file.read(3, 4), file.read(5, 11), file.read(5, 13)) == (b"ef\0", b"ar", b"")
    assert (file.read_cached(9, 8), file.read_cached(5, 13), file.size()) == (b"\0\0far", b"", 13)
    file.close()
    again = disk.open(PATH)
    assert again.read(100, 0) == b"abXYef\0\0\0\0far"
    again.close()


def syncs_in_the_loop(disk: Disk) -> None:
    async def case() -> None:
        file = disk.open(PATH)
        file.write(b"one", 0)
        await file.write_synced(b"two", 3)
        await file.sync()
        assert file.read(6, 0) == b"onetwo"
        file.close()

    asyncio.run(case())


def truncates_to_both_sides(disk: Disk) -> None:
    file = disk.open(PATH)
    file.write(b"abcdef", 0)
    file.truncate(2)
    assert (file.size(), file.read(9, 0)) == (2, b"ab")
    file.truncate(4)
    assert (file.size(), file.read(9, 0)) == (4, b"ab\0\0")
    file.close()


def gives_whole_blocks_back(disk: Disk) -> None:
    file = disk.open(PATH)
    file.write(b"x" * 10 * BLOCK, 0)
    before, free = file.allocated_bytes(), disk.free_bytes()
    assert before >= 10 * BLOCK
    file.punch(100, 4 * BLOCK)
    assert before - file.allocated_bytes() == 3 * BLOCK
    assert file.read(11 * BLOCK, 0) == b"x" * 100 + bytes(4 * BLOCK) + b"x" * (6 * BLOCK - 100)
    assert disk.free_bytes() >= free or not isinstance(disk, SimulatedDisk)  # others write to the real one
    file.punch(0, 10)  # no whole block
    assert (before - file.allocated_bytes(), file.read(11, 0)) == (3 * BLOCK, bytes(10) + b"x")
    file.write(b"y" * BLOCK, BLOCK)
    assert before - file.allocated_bytes() == 2 * BLOCK
    file.close()


def names_files(disk: Disk) -> None:
    assert disk.names("folder") == []
    for name in ("b", "a", "c"):
        disk.open(f"folder/{name}").close()
    disk.sync_folder("folder")
    disk.remove("folder/b")
    disk.remove("folder/b")  # is gone
    assert disk.names("folder") == ["a", "c"]


def stores_small_files_whole(disk: Disk) -> None:
    assert disk.load("small") is None
    disk.store("small", b"first")
    disk.store("small", b"2nd")
    assert disk.load("small") == b"2nd"


def knows_its_size(disk: Disk) -> None:
    assert 0 < disk.free_bytes() <= disk.total_bytes()


CASES: list[Callable[[Disk], None]] = [
    reads_what_was_written_and_less_only_at_the_end,
    syncs_in_the_loop,
    truncates_to_both_sides,
    gives_whole_blocks_back,
    names_files,
    stores_small_files_whole,
    knows_its_size,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_disk(case: Callable[[Disk], None], kind: str, tmp_path: Path) -> None:
    disk = KINDS[kind](tmp_path / "disk")
    case(disk)
    disk.close()


# what the faulty disk adds


@pytest.fixture
def disk(tmp_path: Path) -> FaultyDisk:
    return FaultyDisk(OsDisk(tmp_path))


def fails(number: int, work: Callable[[], object]) -> None:
    with pytest.raises(OSError, match="by the test's wish") as told:
        work()
    assert told.value.errno == number


def filled(disk: FaultyDisk) -> File:
    file = disk.open(PATH)
    file.write(b"x" * 3 * SECTOR_BYTES, 0)
    return file


def test_a_bad_sector_fails_what_reads_it_until_it_is_written(disk: FaultyDisk) -> None:
    file = filled(disk)
    disk.break_sector(PATH, SECTOR_BYTES + 7)
    fails(errno.EIO, lambda: file.read(1, SECTOR_BYTES))
    fails(errno.EIO, lambda: file.read(3 * SECTOR_BYTES, 0))
    assert file.read(SECTOR_BYTES, 0) + file.read(SECTOR_BYTES, 2 * SECTOR_BYTES) == b"x" * 2 * SECTOR_BYTES
    file.write(b"y", SECTOR_BYTES)
    assert file.read(2, SECTOR_BYTES) == b"yx"


def test_a_broken_disk_does_nothing(disk: FaultyDisk) -> None:
    file = filled(disk)
    disk.is_broken = True
    for work in (
        lambda: file.read(1, 0),
        lambda: file.write(b"y", 0),
        lambda: asyncio.run(file.write_synced(b"y", 0)),
        lambda: file.truncate(0),
        lambda: disk.open("other"),
        lambda: disk.names("folder"),
        lambda: disk.load("small"),
        disk.free_bytes,
    ):
        fails(errno.EIO, work)
    disk.heal()
    assert file.read(9 * SECTOR_BYTES, 0) == b"x" * 3 * SECTOR_BYTES
    file.close()
    fails(errno.EBADF, lambda: file.read(1, 0))


def test_a_write_may_be_done_half(disk: FaultyDisk) -> None:
    file = filled(disk)
    disk.left = 1
    file.write(b"a", 0)
    fails(errno.ENOSPC, lambda: file.write(b"bcde", 1))
    assert file.read(5, 0) == b"abcxx"
    disk.room_bytes = 3
    file.write(b"1", 0)
    fails(errno.ENOSPC, lambda: file.write(b"2345", 1))
    assert (file.read(5, 0), disk.free_bytes()) == (b"123xx", 0)


def test_a_sync_that_fails_has_lost_what_it_was_to_cover(disk: FaultyDisk) -> None:
    async def case() -> None:
        file, told = filled(disk), list[int]()
        disk.when_raised = told.append
        await file.sync()
        file.write(b"unsynced", 0)
        disk.left, disk.left_errno = 0, errno.EIO
        with pytest.raises(OSError, match="by the test's wish"):
            await file.sync()
        await file.sync()
        assert file.read(8, 0) == b"x" * 8
        disk.sync_errno = errno.EIO
        file.write(b"unsynced", 0)
        disk.open("other").write(b"no sync", 0)
        with pytest.raises(OSError, match="by the test's wish"):
            await file.sync()
        await file.sync()
        assert (file.read(8, 0), told) == (b"x" * 8, [errno.EIO] * 2)

    asyncio.run(case())


def test_a_disk_that_is_slow_or_hangs_takes_its_time() -> None:
    async def case() -> None:
        disk, loop = FaultyDisk(SimulatedDisk(random.Random(1))), asyncio.get_running_loop()
        file = disk.open(PATH)
        disk.slow_s, began_s = 5.0, loop.time()
        await file.write_synced(b"one", 0)
        await file.sync()
        assert 10 <= loop.time() - began_s < 11
        disk.hang()
        syncing = asyncio.create_task(file.sync())
        await asyncio.sleep(1_000)
        assert not syncing.done()
        disk.go_on()
        await syncing

    run(case())
