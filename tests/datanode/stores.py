"""A volume store on a folder, and what tests do to it and its files."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from datanode import layout
from datanode.index import BlobIndex
from datanode.store import BlobMissing, NewBlob, VolumeStore
from topics.disk import Disk, OsDisk, OsFile
from topics.rocksdb import RocksMap

VOLUME_BYTES = 1 << 20
Payloads = dict[tuple[int, bytes], bytes]  # by group and blob


class WarmDisk(OsDisk):
    """All of it is in memory, and no sync is slow: that it may be otherwise has tests of its own."""

    @property
    def is_late(self) -> bool:
        return False

    def open(self, path: str) -> OsFile:
        file = super().open(path)
        file._tells_cached = False
        return file


def blob(number: int) -> bytes:
    return b"%016d" % number  # found nowhere else in a file


@contextmanager
def opened(
    folder: Path, volume_bytes: int = VOLUME_BYTES, disk: Disk | None = None, reserve_bytes: int | None = 0
) -> Iterator[VolumeStore]:
    disk = disk or WarmDisk(folder)
    index = BlobIndex(RocksMap(folder / "index"))
    store = VolumeStore(disk, index, volume_bytes=volume_bytes, reserve_bytes=reserve_bytes)
    try:
        yield store
    finally:
        store.close()
        disk.close()


def put_all(store: VolumeStore, blobs: Sequence[NewBlob]) -> None:
    """Where what is to be compared is in memory: without a loop."""
    putting = store.put_all(blobs)
    with contextlib.suppress(StopIteration):
        putting.send(None)
        raise AssertionError("it waits for the disk")


def put(store: VolumeStore, number: int, data: bytes, group: int = 0) -> None:
    put_all(store, [NewBlob(group, blob(number), 3, data)])


def put_large(store: VolumeStore, number: int, data: bytes, group: int = 0) -> None:
    async def put() -> None:
        writer = store.create(group, blob(number), 3, len(data))
        try:
            await writer.write(data)
            await writer.commit()
        except BaseException:
            await writer.abort()
            raise

    asyncio.run(put())


def read(store: VolumeStore, number: int, size: int, group: int = 0) -> bytes:
    return asyncio.run(store.read(group, blob(number), 0, size))


def failing(store: VolumeStore, payloads: Payloads) -> set[tuple[int, bytes]]:
    """The blobs that cannot be read; raises for a wrong byte."""

    async def read_all() -> set[tuple[int, bytes]]:
        failed = set()
        for (group, name), data in payloads.items():
            try:
                assert await store.read(group, name, 0, len(data)) == data
            except (BlobMissing, layout.BlobCorrupt):
                failed.add((group, name))
        return failed

    return asyncio.run(read_all())


def names(store: VolumeStore, group: int = 0) -> list[bytes]:
    return [held.blob for held in store.blobs(group)]


def volumes(folder: Path) -> list[Path]:
    return sorted(folder.glob("volumes/*.vol"))


def volume_of(folder: Path, number: int) -> Path:
    """The one file that names the blob."""
    (path,) = [each for each in volumes(folder) if blob(number) in each.read_bytes()]
    return path


def allocated(folder: Path) -> int:
    """Bytes that the volumes take from the file system."""
    return sum(path.stat().st_blocks * 512 for path in volumes(folder))
