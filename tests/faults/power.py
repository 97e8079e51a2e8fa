"""A real store on a disk that forgets: `python -m tests.faults.power` serves as `bucketlog serve` does, on `PowerDisk`.

`PowerDisk` keeps each file twice: the live one, which the store reads and writes, and the stable one, which gets what a
sync covered. Which ranges were ever written is noted beside them, so that `cut`, run when the process was killed, finds
the unsynced sectors: each is kept or lost by itself, as the order of writes means nothing to a disk. So are new names
and removals that no folder sync covered. RocksDB's files are not on this disk; `cut` takes the tail of their newest
write-ahead log, which is what a power cut takes from a database that is never waited for.
"""

import argparse
import asyncio
import os
import random
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from bucketlog import identity, serve, settings
from bucketlog.clock import now_ms
from bucketlog.store import DiskNode, Store
from datanode.service import Times
from topics import spec
from topics.disk import OsDisk, OsFile
from topics.embedded import EmbeddedLog
from topics.log_disk import OneDisk
from topics.rocksdb import RocksMap

SECTOR = 512
SEGMENT_BYTES, VOLUME_BYTES = 4 << 20, 64 << 20  # small, so that cuts hit rolls too
KEEP_SECTOR, LOSE_NAME, LOSE_LOG_TAIL = 0.5, 0.5, 0.5  # how often
_RANGE = struct.Struct("<QQ")
_STABLE, _DIRTY = "stable", "dirty"
T = TypeVar("T")


class _Written(NamedTuple):
    at: int
    size: int
    is_punch: bool = False


class PowerFile:
    def __init__(self, disk: "PowerDisk", path: str) -> None:
        self._live: OsFile = disk.live.open(path)
        self._stable = disk.stable.open(f"{path}.part" if disk.stable_size(path) is None else path)
        self._dirty = disk.dirty.open(path)
        self._skips_sync = disk.skips_sync
        self._noted = self._dirty.size()
        # a sync covers what former processes wrote, too
        self._pending = deque(_Written(at, size) for at, size in _ranges(self._dirty.read(self._noted, 0)))
        self._lock = threading.Lock()

    def read(self, size: int, at: int) -> bytes:
        return self._live.read(size, at)

    def read_cached(self, size: int, at: int) -> bytes:
        return self._live.read_cached(size, at)

    def write(self, data: bytes | bytearray | memoryview, at: int) -> None:
        self._note(at, len(data))
        self._live.write(data, at)
        self._pending.append(_Written(at, len(data)))  # now a sync covers it: not while it is being written

    async def write_synced(self, data: bytes | bytearray | memoryview, at: int) -> None:
        self._note(at, len(data))
        self._live.write(data, at)
        await asyncio.to_thread(self._settle, [_Written(at, len(data))])

    async def sync(self) -> None:
        await asyncio.to_thread(self._settle, self._take_pending())

    def size(self) -> int:
        return self._live.size()

    def allocated_bytes(self) -> int:
        return self._live.allocated_bytes()

    def truncate(self, size: int) -> None:
        self._settle(self._take_pending())
        self._live.truncate(size)
        self._stable.truncate(size)

    def punch(self, at: int, size: int) -> None:
        self._note(at, size)
        self._live.punch(at, size)
        self._pending.append(_Written(at, size, is_punch=True))

    def close(self) -> None:
        for file in (self._live, self._stable, self._dirty):
            file.close()

    def _note(self, at: int, size: int) -> None:
        """Threads write to one file at once: each note has a place of its own."""
        with self._lock:
            place, self._noted = self._noted, self._noted + _RANGE.size
        self._dirty.write(_RANGE.pack(at, size), place)

    def _take_pending(self) -> list[_Written]:
        return [self._pending.popleft() for _ in range(len(self._pending))]

    def _settle(self, covered: list[_Written]) -> None:
        if self._skips_sync:
            return
        for each in covered:
            if each.is_punch:
                self._stable.punch(each.at, each.size)
            else:
                self._stable.write(self._live.read(each.size, each.at), each.at)


class PowerDisk:
    def __init__(self, root: Path, *, skips_sync: bool = False) -> None:
        self.live = OsDisk(root)
        self.stable = OsDisk(_beside(root, _STABLE))
        self.dirty = OsDisk(_beside(root, _DIRTY))
        self.skips_sync = skips_sync
        self._stable_root = _beside(root, _STABLE)

    def stable_size(self, path: str) -> int | None:
        target = self._stable_root / path
        return target.stat().st_size if target.exists() else None

    def open(self, path: str) -> PowerFile:
        return PowerFile(self, path)

    def names(self, folder: str) -> list[str]:
        return self.live.names(folder)

    def load(self, path: str) -> bytes | None:
        return self.live.load(path)

    def store(self, path: str, data: bytes) -> None:
        self.live.store(path, data)
        self.stable.store(path, data)

    @property
    def is_late(self) -> bool:
        return self.live.is_late

    async def run(self, work: Callable[[], T]) -> T:
        return await self.live.run(work)

    def remove(self, path: str) -> None:
        self.live.remove(path)
        self.dirty.remove(path)

    def sync_folder(self, folder: str) -> None:
        """New names and removals are stable from here on."""
        if self.skips_sync:
            return
        there = set(self.live.names(folder))
        for name in self.stable.names(folder):
            path = self._stable_root / folder / name
            if name.endswith(".part"):
                path.replace(path.with_suffix(""))
            elif name not in there:
                path.unlink()

    def free_bytes(self) -> int:
        return self.live.free_bytes()

    def total_bytes(self) -> int:
        return self.live.total_bytes()

    def close(self) -> None:
        for disk in (self.live, self.stable, self.dirty):
            disk.close()


def cut(root: Path, rng: random.Random) -> None:
    """The power fails: leave in `root` what a disk could have kept. No process may be running on it."""
    stable = _beside(root, _STABLE)
    for path in sorted(_files(stable)):
        name = path.with_suffix("") if path.suffix == ".part" else path
        live = root / name.relative_to(stable)
        is_lost = path.suffix == ".part" and rng.random() < LOSE_NAME
        is_removed = path.suffix != ".part" and not live.exists() and rng.random() < LOSE_NAME
        if is_lost or is_removed:
            live.unlink(missing_ok=True)
            path.unlink()
            continue
        path.replace(name)
        _keep_some(live, name, _beside(root, _DIRTY) / live.relative_to(root), rng)
    for path in _files(_beside(root, _DIRTY)):
        path.unlink()
    if rng.random() < LOSE_LOG_TAIL:
        for database in [*(root / "view").glob("*"), root / "index"]:
            _lose_tail(database, rng)


def _keep_some(live: Path, stable: Path, dirty: Path, rng: random.Random) -> None:
    """Decide for each unsynced sector whether it reached the disk; both files are the same then."""
    with _opened(live) as seen, _opened(stable) as kept:
        for start, size in _ranges(dirty.read_bytes() if dirty.exists() else b""):
            first, end = start // SECTOR * SECTOR, start + size
            if os.pread(seen, end - first, first) == os.pread(kept, end - first, first):
                continue
            for at in range(first, end, SECTOR):
                new, old = os.pread(seen, SECTOR, at), os.pread(kept, SECTOR, at)
                if new == old:
                    continue
                if rng.random() < KEEP_SECTOR:
                    os.pwrite(kept, new, at)
                else:
                    os.pwrite(seen, old.ljust(len(new), b"\0"), at)
        os.ftruncate(seen, os.fstat(kept).st_size)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        yield fd
    finally:
        os.close(fd)


def _ranges(dirty: bytes) -> Iterator[tuple[int, int]]:
    return _RANGE.iter_unpack(dirty[: len(dirty) // _RANGE.size * _RANGE.size])


def _lose_tail(database: Path, rng: random.Random) -> None:
    logs = [each for each in sorted(database.glob("*.log")) if each.stat().st_size]
    if logs:
        os.truncate(logs[-1], rng.randrange(logs[-1].stat().st_size + 1))


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _beside(root: Path, name: str) -> Path:
    return root.with_name(f"{root.name}.{name}")


async def open_store(folders: Sequence[Path], *, skips_sync: bool = False) -> Store:
    views = [RocksMap(folders[0] / "view" / f"{number:04}") for number in range(spec.EVENTS.partitions)]
    disks = [PowerDisk(folder, skips_sync=skips_sync) for folder in folders]
    log = await EmbeddedLog.open(OneDisk(disks[0]), now_ms, segment_bytes=SEGMENT_BYTES)
    nodes = [
        DiskNode(identity.load(folder, "", log.identity), disk, RocksMap(folder / "index"), disk.total_bytes())
        for folder, disk in zip(folders, disks, strict=True)
    ]
    return Store(
        log, nodes, views, now_ms, volume_bytes=VOLUME_BYTES, release_after_s=0.0, times=Times(compact_every_s=0.5)
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--skip-sync", action="store_true")
    options = parser.parse_args()
    found = settings.load(None, {"data": options.data, "port": options.port})
    raise SystemExit(serve.run(found, lambda folders, _: open_store(folders, skips_sync=options.skip_sync)))


if __name__ == "__main__":
    main()
