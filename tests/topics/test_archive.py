"""The archive of one partition: files that follow each other, whatever offsets were burned between them."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.disks.faulty import FaultyDisk
from topics.archive import FILE_BYTES, Archive
from topics.disk import Disk, OsDisk
from topics.log import LogCorrupt, Record
from topics.log_disk import OneDisk

FOLDER = "archive/events/0000"
IN_A_FILE = 4
VALUE = bytes(FILE_BYTES // IN_A_FILE)


def opened(disk: Disk) -> Archive:
    return asyncio.run(Archive.open(OneDisk(disk), FOLDER))


def closed(archive: Archive) -> None:
    asyncio.run(archive.close())


def archived(root: Path, offsets: list[int]) -> OsDisk:
    disk = OsDisk(root)
    archive = opened(disk)
    asyncio.run(archive.append([Record(offset, 1, b"", VALUE) for offset in offsets]))
    closed(archive)
    return disk


def offsets_from(archive: Archive, start: int) -> list[int]:
    found: list[int] = []
    while batch := asyncio.run(archive.read(found[-1] + 1 if found else start, 3)):
        found += [each.offset for each in batch]
    return found


@pytest.mark.parametrize(
    "offsets",
    [
        list(range(10)),
        [2, 3, 4, 5, 6],  # burned before the first
        [0, 1, 2, 3, 5, 6],  # burned where a file ends
        [0, 1, 2, 3, 9, 10, 11, 12, 20],
    ],
)
def test_every_offset_leads_to_the_next_record(offsets: list[int], tmp_path: Path) -> None:
    disk = archived(tmp_path, offsets)
    assert len(disk.names(FOLDER)) == -(-len(offsets) // IN_A_FILE)
    archive = opened(disk)
    assert (archive.earliest, archive.next_offset) == (0, offsets[-1] + 1)
    for start in range(offsets[-1] + 2):
        assert offsets_from(archive, start) == [each for each in offsets if each >= start]
    closed(archive)
    disk.close()


def test_trims_whole_files_and_keeps_the_last(tmp_path: Path) -> None:
    disk = archived(tmp_path, list(range(10)))
    archive = opened(disk)
    for before, earliest in ((3, 0), (4, 4), (7, 4)):
        asyncio.run(archive.trim(before))
        assert (archive.earliest, offsets_from(archive, earliest)) == (earliest, list(range(earliest, 10)))
    asyncio.run(archive.trim(100))
    assert (archive.earliest, len(disk.names(FOLDER))) == (8, 1)
    closed(archive)
    disk.close()


@pytest.mark.parametrize("left", range(15))
def test_what_a_full_disk_refused_is_archived_by_the_next_append(left: int, tmp_path: Path) -> None:
    records = [Record(offset, 1, b"", VALUE) for offset in range(2 * IN_A_FILE + 1)]
    disk = FaultyDisk(OsDisk(tmp_path))
    archive = opened(disk)
    disk.left = left
    with contextlib.suppress(OSError):
        asyncio.run(archive.append(records[:6]))
    with contextlib.suppress(OSError):
        asyncio.run(archive.append(records))
    assert disk.left is None
    asyncio.run(archive.append(records))
    for each in (archive, opened(disk)):
        assert offsets_from(each, 0) == list(range(len(records)))
        closed(each)
    disk.close()


@pytest.mark.parametrize("kept_bytes", [0, FILE_BYTES // IN_A_FILE - 1, FILE_BYTES // IN_A_FILE + 100])
def test_what_is_torn_in_the_last_file_is_archived_again(kept_bytes: int, tmp_path: Path) -> None:
    archived(tmp_path, [0, 1, 2, 3, 4, 5]).close()
    last = sorted((tmp_path / FOLDER).iterdir())[-1]
    with last.open("r+b") as file:
        file.truncate(kept_bytes)
    disk = archived(tmp_path, [3, 4, 5, 6])
    archive = opened(disk)
    assert offsets_from(archive, 0) == [0, 1, 2, 3, 4, 5, 6]
    closed(archive)
    disk.close()


def test_what_is_appended_can_be_read_at_once(tmp_path: Path) -> None:
    disk = OsDisk(tmp_path)
    archive = opened(disk)
    for offset in range(3):
        asyncio.run(archive.append([Record(offset, 1, b"", VALUE)]))
        assert offsets_from(archive, 0) == list(range(offset + 1))
    closed(archive)
    disk.close()


def test_a_damaged_file_before_the_last_is_named(tmp_path: Path) -> None:
    disk = archived(tmp_path, list(range(6)))
    first = disk.names(FOLDER)[0]
    with (tmp_path / FOLDER / first).open("r+b") as file:
        file.seek(FILE_BYTES // 2)
        file.write(b"\xff")
    archive = opened(disk)
    with pytest.raises(LogCorrupt, match=first):
        asyncio.run(archive.read(0, 10))
    closed(archive)
    disk.close()
