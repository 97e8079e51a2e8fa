"""A disk in memory that knows what was synced. `power_cut` throws away a seeded part of what was not.

An unsynced write may be lost, kept, or torn at a 512-byte sector, each by itself: the order of writes means nothing to a
disk. A synced write takes a step of the loop, and a cut in the middle of it tears it. New names and removals that no sync
of their folder covered are lost or kept by themselves, too.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

from topics.disk import File

SECTOR = 512
BLOCK = 4096  # of the file system: what it hands out and takes back
T = TypeVar("T")


class SimulatedFile:
    def __init__(self, disk: "SimulatedDisk") -> None:
        self._disk = disk
        self.data = bytearray()
        self.stable = bytearray()
        self.pending: list[tuple[int, bytes]] = []
        self._blocks = set[int]()  # that it takes from the file system

    def read(self, size: int, at: int) -> bytes:
        return bytes(self.data[at : at + size])

    def read_cached(self, size: int, at: int) -> bytes:
        return self.read(size, at)

    def write(self, data: bytes | bytearray | memoryview, at: int) -> None:
        if self._disk.is_frozen:
            return
        _write(self.data, bytes(data), at)
        self._blocks.update(range(at // BLOCK, -(-(at + len(data)) // BLOCK)))
        self.pending.append((at, bytes(data)))

    async def write_synced(self, data: bytes | bytearray | memoryview, at: int) -> None:
        self._disk.maybe_fail()
        self.write(data, at)
        written = self.pending[-1]
        await asyncio.sleep(self._disk.rng.random() * 0.002)
        if not self._disk.skips_sync:
            self._settle([written])

    async def sync(self) -> None:
        covered = list(self.pending)
        await asyncio.sleep(self._disk.rng.random() * 0.002)
        if not self._disk.skips_sync:
            self._settle(covered)

    def _settle(self, covered: list[tuple[int, bytes]]) -> None:
        """These writes are stable now, and older unsynced bytes below them can no longer come up."""
        for at, data in covered:
            if (at, data) not in self.pending:
                continue  # cut off, or already covered by a sync of the same writes
            place = self.pending.index((at, data))
            older = [piece for each in self.pending[:place] for piece in _outside(each, at, at + len(data))]
            self.pending[: place + 1] = older
            _write(self.stable, data, at)

    def size(self) -> int:
        return len(self.data)

    def allocated_bytes(self) -> int:
        ahead = -(-len(self.data) // BLOCK) if self._disk.allocates_ahead else 0
        return (len(self._blocks) + ahead) * BLOCK

    def truncate(self, size: int) -> None:
        for content in (self.data, self.stable):
            del content[size:]
            content.extend(bytes(size - len(content)))
        self._forget_blocks(size)
        self.pending = [(at, data[: size - at]) for at, data in self.pending if at < size]
        if not self._disk.skips_sync:
            self._settle(list(self.pending))

    def punch(self, at: int, size: int) -> None:
        """To a power cut it is a write of zeros, which it may lose."""
        end = min(at + size, len(self.data))
        if at < end and not self._disk.is_frozen:
            self.write(bytes(end - at), at)
            self._blocks.difference_update(range(-(-at // BLOCK), end // BLOCK))

    def close(self) -> None:
        """Nothing to let go of."""

    def cut(self, size: int) -> None:
        """What lies behind is gone, though it was synced."""
        del self.data[size:], self.stable[size:]
        self._forget_blocks(size)
        self.pending = []

    def flip(self, at: int, bits: int) -> None:
        for content in (self.data, self.stable):
            if at < len(content):
                content[at] ^= bits

    def power_cut(self, rng: random.Random) -> None:
        for at, data in self.pending:
            kept = rng.random()
            if kept < 0.4:
                _write(self.stable, data, at)
            elif kept < 0.6:
                for start in range(0, len(data), SECTOR):
                    if rng.random() < 0.5:
                        _write(self.stable, data[start : start + SECTOR], at + start)
        self.pending = []
        self.data = bytearray(self.stable)
        self._blocks = {number for number in range(-(-len(self.data) // BLOCK)) if self._has_bytes(number)}

    def _has_bytes(self, number: int) -> bool:
        block = self.data[number * BLOCK : (number + 1) * BLOCK]
        return block != bytes(len(block))

    def _forget_blocks(self, size: int) -> None:
        """Those behind the end."""
        self._blocks = {number for number in self._blocks if number * BLOCK < size}


class SimulatedDisk:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.skips_sync = False
        self.failures = 0
        self.breaks = False  # whether they are those of a disk that is broken, not of a full one
        self.is_frozen = False
        self.allocates_ahead = False  # as XFS does for a file that grows: as much again
        self.when_created: Callable[[str], None] = lambda path: None  # a new file: a moment at which a crash does most harm
        self.when_removed: Callable[[str], None] = lambda path: None
        self.capacity_bytes = 1 << 40
        self._files: dict[str, SimulatedFile] = {}
        self._removed: dict[str, SimulatedFile] = {}  # since the last sync of their folder
        self._synced_names: set[str] = set()
        self._small: dict[str, bytes] = {}

    def open(self, path: str) -> File:
        self._removed.pop(path, None)
        if path not in self._files:
            self.when_created(path)
        return self._files.setdefault(path, SimulatedFile(self))

    def names(self, folder: str) -> list[str]:
        return sorted(path.rpartition("/")[2] for path in self._files if path.rpartition("/")[0] == folder)

    def load(self, path: str) -> bytes | None:
        return self._small.get(path)

    def store(self, path: str, data: bytes) -> None:
        self._small[path] = data

    def remove(self, path: str) -> None:
        if self.is_frozen:
            return
        self.when_removed(path)
        file = self._files.pop(path, None)
        if file is not None and path in self._synced_names:
            self._removed[path] = file

    def sync_folder(self, folder: str) -> None:
        if self.is_frozen:
            return
        self._synced_names |= {path for path in self._files if path.rpartition("/")[0] == folder}
        for path in [path for path in self._removed if path.rpartition("/")[0] == folder]:
            del self._removed[path]
            self._synced_names.discard(path)

    def free_bytes(self) -> int:
        return self.capacity_bytes - sum(file.allocated_bytes() for file in self._files.values())

    def total_bytes(self) -> int:
        return self.capacity_bytes

    @property
    def is_late(self) -> bool:
        return False

    async def run(self, work: Callable[[], T]) -> T:
        await asyncio.sleep(0)  # a process may end before
        return work()

    def contents(self) -> Iterator[bytes]:
        for path, file in self._files.items():
            yield from (path.encode(), bytes(file.data), bytes(file.stable))
        for path, data in self._small.items():
            yield from (path.encode(), data)

    def files(self, folder: str) -> dict[str, SimulatedFile]:
        return {path: file for path, file in self._files.items() if path.rpartition("/")[0] == folder}

    def unsynced_names(self, folder: str) -> set[str]:
        """Of files that a power cut may take."""
        return set(self.files(folder)) - self._synced_names

    def lose(self, path: str) -> None:
        """It is gone, though it was synced."""
        del self._files[path]
        self._synced_names.discard(path)

    def close(self) -> None:
        """Nothing to let go of."""

    def maybe_fail(self) -> None:
        if self.failures:
            self.failures -= 1
            if self.breaks:
                raise OSError(5, "Input/output error (by the test's wish)")
            raise OSError(28, "No space left on device (by the test's wish)")

    def power_cut(self) -> None:
        for path, file in self._removed.items():
            if self.rng.random() < 0.5:
                self._files.setdefault(path, file)
            else:
                self._synced_names.discard(path)
        self._removed.clear()
        for path in list(self._files):
            if path not in self._synced_names and self.rng.random() < 0.5:
                del self._files[path]
            else:
                self._files[path].power_cut(self.rng)


def _outside(write: tuple[int, bytes], start: int, end: int) -> list[tuple[int, bytes]]:
    """The parts of a write below `start` and from `end` on."""
    at, data = write
    if at + len(data) <= start or at >= end:
        return [write]
    parts = [(at, data[: max(0, start - at)]), (max(at, end), data[max(0, end - at) :])]
    return [part for part in parts if part[1]]


def _write(content: bytearray, data: bytes, at: int) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data
