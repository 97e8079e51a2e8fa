"""The embedded log on several disks: one fails, is lost, is torn by a power cut, flips a bit; and what is refused."""

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TypeVar

import pytest

from tests import virtual
from tests.disks.faulty import SECTOR_BYTES, FaultyDisk
from tests.disks.fused import Data, Fuse, FusedDisk, FusedFile
from tests.simulation.disk import SimulatedDisk
from tests.topics.two_topics import COMMANDS, EVENTS, SPECS, others_done
from topics.copies import ASK_S, LATE_AT_START_S, LATE_S
from topics.disk import Disk, File
from topics.embedded import MANIFEST, EmbeddedLog, mended
from topics.log import Entry, LogCorrupt, LogError
from topics.log_disk import OneDisk
from topics.mirror import MirroredDisk

SEGMENT_BYTES = 4_000  # a roll each third round
FOLDERS = ("journal", "archive/events/0000")
FULL = OSError(28, "No space left on device")
Disks = dict[str, SimulatedDisk]
T = TypeVar("T")


class Store:
    """A log on a mirror, and the values that it acknowledged."""

    def __init__(self, disk: MirroredDisk, log: EmbeddedLog) -> None:
        self.disk = disk
        self.log = log

    @classmethod
    async def open(cls, disks: Mapping[str, Disk]) -> "Store":
        mirror = await MirroredDisk.open_all(disks, MANIFEST, mended)
        log = await EmbeddedLog.open(mirror, lambda: 1, segment_bytes=SEGMENT_BYTES)
        await mirror.admit()
        return cls(mirror, log)

    async def fill(self, first: int, rounds: int = 12) -> list[bytes]:
        """Those that it took."""
        await self.log.create_topics(SPECS)
        taken: list[bytes] = []
        for number in range(first, first + rounds):
            await self.log.append(COMMANDS, [Entry(b"", b"%02d" % number + bytes(200))], durable=False)
            try:
                await self.log.append(EVENTS, [Entry(b"", b"%02d" % number + bytes(1_000))], durable=True)
                taken.append(b"%02d" % number)
            except LogError:
                continue
            await self.log.trim(COMMANDS, await self.log.latest(COMMANDS) - 2)  # so that segments go
        return taken

    async def takes(self) -> bool:
        """Whether it takes one more; what it refuses it does not have."""
        try:
            await self.log.append(EVENTS, [Entry(b"", b"no")], durable=True)
        except LogError:
            return False
        return True

    async def values(self) -> list[bytes]:
        found: list[bytes] = []
        offset = await self.log.earliest(EVENTS)
        while batch := await self.log.read(EVENTS, offset):
            found += [each.value[:2] for each in batch]
            offset = batch[-1].offset + 1
        return found


def new_disks(names: str = "ab", seed: int = 1) -> Disks:
    return {name: SimulatedDisk(random.Random(f"{seed}{name}")) for name in names}


def filled(disks: Mapping[str, Disk], first: int = 0, rounds: int = 12) -> list[bytes]:
    """A process that writes, and ends without a word when nothing is left to do beside the writes."""

    async def run() -> list[bytes]:
        taken = await (await Store.open(disks)).fill(first, rounds)
        await others_done()
        return taken

    return asyncio.run(run())


def seen(disks: Mapping[str, Disk]) -> list[bytes]:
    async def run() -> list[bytes]:
        store = await Store.open(disks)
        await store.log.create_topics(SPECS)
        found = await store.values()
        await store.log.close()
        return found

    return asyncio.run(run())


def started_and_stopped(disks: Mapping[str, Disk]) -> None:
    async def run() -> None:
        await (await Store.open(disks)).log.close()

    asyncio.run(run())


def contents(disk: SimulatedDisk) -> dict[str, bytes]:
    return {path: bytes(file.data) for folder in FOLDERS for path, file in disk.files(folder).items()}


def members(disks: Mapping[str, Disk]) -> list[str]:
    """Of a start without any new disk."""
    return asyncio.run(MirroredDisk.open_all(disks, MANIFEST, mended)).members


@pytest.fixture(autouse=True)
def told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr("topics.archive.FILE_BYTES", 5_000)  # so that there are several
    yield caplog


def test_each_disk_has_all() -> None:
    disks = new_disks("abc")
    taken = filled(disks)
    assert len(taken) == 12
    assert contents(disks["a"]) == contents(disks["b"]) == contents(disks["c"])
    assert {path.partition("/")[0] for path in contents(disks["a"])} == {"journal", "archive"}
    for lost in "abc":
        assert seen({name: disk for name, disk in disks.items() if name != lost}) == taken
        disks |= new_disks(lost)
        assert seen(disks) == taken  # it is a member again
        assert contents(disks["a"]) == contents(disks["b"]) == contents(disks["c"])


def test_a_disk_that_was_left_out_has_all_when_it_is_admitted() -> None:
    """Before anything is read that would mend it."""
    disks = new_disks()
    filled(disks, rounds=8)
    filled({"a": disks["a"], "b": FusedDisk(disks["b"], Fuse(0))}, 8, 16)
    assert contents(disks["a"]) != contents(disks["b"])
    started_and_stopped(disks)
    assert contents(disks["a"]) == contents(disks["b"])


def test_at_most_three_disks_have_it_and_a_fourth_takes_the_place_of_one_that_is_missing() -> None:
    disks = new_disks("abcd")
    taken = filled(disks)
    assert contents(disks["d"]) == {}
    assert seen({name: disks[name] for name in "bcd"}) == taken
    assert contents(disks["d"]) == contents(disks["b"])
    assert seen(disks) == taken
    assert members(disks) == ["b", "c", "d"]


@pytest.mark.parametrize("broken", "ab")
def test_a_disk_that_breaks_at_any_moment_is_left_out(broken: str, told: pytest.LogCaptureFixture) -> None:
    unbroken = Fuse()
    filled({name: FusedDisk(disk, unbroken if name == broken else Fuse()) for name, disk in new_disks().items()})
    assert unbroken.spent > 70
    for left in range(unbroken.spent):
        disks, fuse = new_disks(), Fuse(left)
        told.clear()
        taken = filled({name: FusedDisk(disk, fuse if name == broken else Fuse()) for name, disk in disks.items()})
        assert len(taken) == 12
        assert [f"without its copy on {broken}" in line for line in told.messages] == [True], left
        [other] = set(disks) - {broken}
        assert members(disks) == [other]
        assert seen({other: disks[other]}) == taken
        assert seen(disks) == taken  # the broken one is whole again, and stale
        assert contents(disks["a"]) == contents(disks["b"])


def test_a_process_that_ends_at_any_moment_of_a_copy_leaves_it_stale() -> None:
    def prepared() -> tuple[Disks, list[bytes]]:
        """a and c went on without b."""
        disks = new_disks("abc")
        taken = filled(disks)
        return disks, taken + filled(disks | {"b": FusedDisk(disks["b"], Fuse(0))}, 12)

    disks, taken = prepared()
    unbroken = Fuse()
    started_and_stopped({name: FusedDisk(disk, unbroken) for name, disk in disks.items()})
    for left in range(unbroken.spent):
        disks, taken = prepared()
        fuse = Fuse(left, RuntimeError("the process ended"))
        with pytest.raises(RuntimeError, match="the process ended"):
            seen({name: FusedDisk(disk, fuse) for name, disk in disks.items()})
        for disk in disks.values():
            disk.power_cut()
        with pytest.raises(LogError, match=r"may lack|never whole"):
            asyncio.run(Store.open({"b": disks["b"]}))
        some = ("abc", "ab", "bc")[left % 3]
        assert seen({name: disks[name] for name in some}) == taken, left
        assert contents(disks[some[0]]) == contents(disks[some[-1]])


def test_a_copy_that_is_not_whole_is_not_taken_for_one_of_two() -> None:
    def prepared() -> tuple[Disks, list[bytes], list[bytes]]:
        disks = new_disks()
        before = filled(disks)
        return disks, before, before + filled({"a": disks["a"], "b": FusedDisk(disks["b"], Fuse(0))}, 12)

    disks, *_ = prepared()
    unbroken = Fuse()
    started_and_stopped({name: FusedDisk(disk, unbroken) for name, disk in disks.items()})
    refused = 0
    for left in range(unbroken.spent):
        disks, before, taken = prepared()
        fuse = Fuse(left, RuntimeError("the process ended"))
        with pytest.raises(RuntimeError, match="the process ended"):
            seen({name: FusedDisk(disk, fuse) for name, disk in disks.items()})
        try:
            found = seen({"b": disks["b"]})
        except LogError as error:
            assert "never whole" in str(error) or "may lack" in str(error), left
            refused += 1
        else:
            assert found in (before, taken), left
    assert refused > unbroken.spent // 2


def test_a_process_that_ends_at_any_moment_of_its_writes() -> None:
    """Of its two disks the first has more then, or the second, as chance has it."""
    for first in ("ab", "ba"):
        disks, unbroken = new_disks(first), Fuse()
        filled({name: FusedDisk(disk, unbroken) for name, disk in disks.items()})
        for left in range(unbroken.spent):
            disks, fuse = new_disks(first, left), Fuse(left, RuntimeError("the process ended"))
            taken: list[bytes] = []
            with contextlib.suppress(RuntimeError):
                taken = filled({name: FusedDisk(disk, fuse) for name, disk in disks.items()})
            if left % 2:
                for disk in disks.values():
                    disk.power_cut()
            found = seen({name: disks[name] for name in "ab"})
            assert found[: len(taken)] == taken, left
            assert len(found) <= len(taken) + 1, left
            assert contents(disks["a"]) == contents(disks["b"])


def test_power_cuts_that_tear_each_disk_otherwise() -> None:
    for seed in range(60):
        disks, taken = new_disks("abc", seed), list[bytes]()
        for _ in range(3):
            taken += filled(disks, len(taken), 4)
            for disk in disks.values():
                disk.power_cut()
            assert seen(disks) == taken
            assert contents(disks["a"]) == contents(disks["b"]) == contents(disks["c"])


def test_what_only_one_disk_has_of_the_last_batch_comes_to_all() -> None:
    """The process ended while the others wrote it: nobody was told of it, and from here on nobody may lose it."""
    for first in "ab":
        disks = new_disks()
        filled(disks, rounds=2)
        fuse = Fuse(error=RuntimeError("the process ended"))
        slow = {name: disk if name == first else FusedDisk(disk, fuse) for name, disk in disks.items()}

        async def run(slow: Mapping[str, Disk] = slow, fuse: Fuse = fuse) -> None:
            store = await Store.open(slow)
            await store.log.create_topics(SPECS)
            fuse.left = 0
            await store.log.append(EVENTS, [Entry(b"", b"xx" + bytes(100))], durable=True)

        with pytest.raises(LogError):
            asyncio.run(run())
        assert seen(disks) == [b"00", b"01", b"xx"]
        for name in disks:
            assert seen({name: disks[name]} | new_disks("c")) == [b"00", b"01", b"xx"]


@pytest.mark.parametrize("harmed", "ab")
def test_bits_that_flipped_on_one_disk_are_mended_from_another(harmed: str) -> None:
    disks = new_disks()
    taken = filled(disks)
    for folder in FOLDERS:
        for path in disks[harmed].files(folder):
            before = contents(disks[harmed])
            if not (used := len(before[path].rstrip(b"\0"))):
                continue  # prepared, and not begun
            for at in (3, used // 2, used - 1):
                disks[harmed].files(folder)[path].flip(at, 1)
            assert seen(disks) == taken
            assert contents(disks["a"]) == contents(disks["b"])
            assert contents(disks[harmed])[path][:used] == before[path][:used]


@pytest.mark.parametrize("harmed", "ab")
def test_a_file_that_is_gone_from_one_disk_is_copied_from_another(harmed: str) -> None:
    disks = new_disks()
    taken = filled(disks)
    paths = list(contents(disks[harmed]))
    assert len([path for path in paths if path.startswith("archive")]) > 1
    for path in paths:
        disks[harmed].lose(path)
        assert seen(disks) == taken
        assert contents(disks["a"]) == contents(disks["b"])


def test_damage_to_both_in_different_places_is_mended() -> None:
    disks = new_disks()
    taken = filled(disks)
    path = min(path for path in contents(disks["a"]) if path.startswith("archive"))
    used = len(contents(disks["a"])[path])
    disks["a"].files(FOLDERS[1])[path].flip(used // 4, 1)
    disks["b"].files(FOLDERS[1])[path].flip(used * 3 // 4, 1)
    assert seen(disks) == taken
    disks["a"].files(FOLDERS[1])[path].flip(used // 4, 1)
    disks["b"].files(FOLDERS[1])[path].flip(used // 4, 1)
    with pytest.raises(LogCorrupt):
        seen(disks)


def test_a_flipped_bit_is_mended_when_an_archive_is_read() -> None:
    async def run() -> None:
        disks = new_disks()
        store = await Store.open(disks)
        taken = await store.fill(0)
        path = min(disks["a"].files(FOLDERS[1]))
        disks["a"].files(FOLDERS[1])[path].flip(100, 1)
        assert await store.values() == taken
        assert contents(disks["a"]) == contents(disks["b"])
        await store.log.close()

    asyncio.run(run())


@pytest.mark.parametrize("path", [MANIFEST, "mirror.json"])
@pytest.mark.parametrize("harmed", "ab")
def test_a_flipped_bit_in_a_small_file_is_mended(harmed: str, path: str) -> None:
    disks = new_disks()
    taken = filled(disks)
    stored = disks[harmed].load(path)
    assert stored is not None
    for at in range(len(stored) - 1):
        disks[harmed].store(path, stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :])
        assert seen(disks) == taken
        assert disks["a"].load(MANIFEST) == disks["b"].load(MANIFEST)
        assert members(disks) == ["a", "b"] or members(disks) == ["b", "a"]


def test_a_full_disk_is_not_left_out() -> None:
    for full in "ab":
        disks = new_disks()

        async def run(disks: Disks = disks, full: str = full) -> list[bytes]:
            fuse = Fuse(error=FULL)
            store = await Store.open(
                {name: FusedDisk(disk, fuse if name == full else Fuse()) for name, disk in disks.items()}
            )
            taken = await store.fill(0, 4)
            fuse.left = 0
            assert not await store.takes()
            fuse.left = None
            taken += await store.fill(4, 4)
            assert store.disk.members == ["a", "b"]
            assert await store.values() == taken
            return taken

        taken = asyncio.run(run())
        assert seen(disks) == taken


def test_the_last_disk_is_not_left_out() -> None:
    disks, fuse = new_disks(), Fuse()
    fused = {name: FusedDisk(disk, fuse) for name, disk in disks.items()}

    async def run() -> None:
        store = await Store.open(fused)
        await store.fill(0, 4)
        fuse.left = 0
        assert not await store.takes()
        assert store.disk.members == ["a", "b"]  # it failed on both: which of them is to blame nobody knows

    asyncio.run(run())
    disks = new_disks()

    async def run_one_after_the_other() -> None:
        first, second = Fuse(), Fuse()
        store = await Store.open({"a": FusedDisk(disks["a"], first), "b": FusedDisk(disks["b"], second)})
        await store.fill(0, 4)
        first.left = 0
        assert await store.fill(4, 4)
        assert store.disk.members == ["b"]
        second.left = 0
        assert not await store.takes()
        assert store.disk.members == ["b"]

    asyncio.run(run_one_after_the_other())


def test_what_cannot_be_known_is_refused_and_left_as_it_is() -> None:
    disks, others = new_disks("abc"), new_disks("xy")
    taken = filled(disks)
    filled(others)
    before = [contents(disk) for disk in (*disks.values(), *others.values())]
    for wrong in ({"c": disks["c"]}, {"c": disks["c"]} | new_disks("n"), disks | others):
        with pytest.raises(LogError, match=r"may lack the end of the log|logs of their own"):
            asyncio.run(Store.open(wrong))
    assert [contents(disk) for disk in (*disks.values(), *others.values())] == before
    assert seen(disks) == taken


def test_a_log_of_one_disk_comes_to_others() -> None:
    disks = new_disks("a")
    log = asyncio.run(EmbeddedLog.open(OneDisk(disks["a"]), lambda: 1, segment_bytes=SEGMENT_BYTES))
    asyncio.run(log.create_topics(SPECS))
    asyncio.run(log.append(EVENTS, [Entry(b"", b"00")], durable=True))
    disks |= new_disks("bc")
    assert seen(disks) == [b"00"]
    assert seen({name: disks[name] for name in "bc"}) == [b"00"]


class HangingFile(FusedFile):
    """Its synced writes run in threads, as those of a real disk, and hang there while the disk does; then they are done."""

    def __init__(self, file: File, may_go_on: threading.Event) -> None:
        super().__init__(file, Fuse())
        self._may_go_on = may_go_on

    async def write_synced(self, data: Data, at: int) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self._may_go_on.wait, 30)
        await self._file.write_synced(data, at)


class HangingDisk(FusedDisk):
    def __init__(self, disk: Disk) -> None:
        super().__init__(disk, Fuse())
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def open(self, path: str) -> File:
        return HangingFile(self._disk.open(path), self.may_go_on)


def test_a_disk_that_hangs_is_left_out_and_what_it_writes_late_makes_it_no_member(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topics.copies.LATE_S", 0.05)
    disks = new_disks()

    async def run() -> list[bytes]:
        hanging = HangingDisk(disks["b"])
        store = await Store.open({"a": disks["a"], "b": hanging})
        taken = await store.fill(0, 4)
        hanging.may_go_on.clear()
        taken += await store.fill(4, 4)
        assert store.disk.members == ["a"]
        hanging.may_go_on.set()
        taken += await store.fill(8, 4)
        assert store.disk.members == ["a"]
        return taken

    taken = asyncio.run(run())
    assert len(taken) == 12
    assert members(disks) == ["a"]
    assert seen(disks) == taken
    assert contents(disks["a"]) == contents(disks["b"])


def test_where_all_disks_hang_they_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topics.copies.LATE_S", 0.05)
    disks = new_disks()

    async def run() -> list[bytes]:
        hanging = {name: HangingDisk(disk) for name, disk in disks.items()}
        store = await Store.open(hanging)
        taken = await store.fill(0, 4)
        for disk in hanging.values():
            disk.may_go_on.clear()
        filling = asyncio.create_task(store.fill(4, 4))
        await asyncio.wait({filling}, timeout=0.2)
        assert not filling.done()
        for disk in hanging.values():
            disk.may_go_on.set()
        taken += await filling
        assert store.disk.members == ["a", "b"]
        return taken

    taken = asyncio.run(run())
    assert seen(disks) == taken


class Hung:
    """Two disks in virtual time, one of which hangs at some call: what the log took, and what it cost."""

    def __init__(self, hanging: str, *, before_start: bool) -> None:
        self.disks = new_disks()
        self.faulty = {name: FaultyDisk(disk) for name, disk in self.disks.items()}
        self.hanging = self.faulty[hanging]
        self._before_start = before_start
        self.slowest_s = 0.0

    def run(self, hangs_after: int | None) -> list[bytes]:
        """Of a log that has something already; `hangs_after` calls."""
        filled(self.disks, rounds=6)
        return virtual.run(self._run(hangs_after))

    async def _run(self, hangs_after: int | None) -> list[bytes]:
        if self._before_start:
            self.hanging.hangs_after = hangs_after
        store = await self._timed(Store.open(self.faulty))
        if not self._before_start:
            self.hanging.waits, self.hanging.hangs_after = 0, hangs_after
        taken = [b"%02d" % number for number in range(6)]
        for first in range(6, 18, 2):
            taken += await self._timed(store.fill(first, 2))
        await self._timed(others_done())
        assert await self._timed(store.values()) == taken
        await self._timed(store.log.trim(EVENTS, 12))
        await self._timed(store.log.close())
        return taken

    async def _timed(self, work: Awaitable[T]) -> T:
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        found = await work
        self.slowest_s = max(self.slowest_s, loop.time() - begun_s)
        return found


@pytest.mark.parametrize("hanging", "ab")
@pytest.mark.parametrize("before_start", [True, False], ids=["start", "work"])
def test_a_disk_that_hangs_at_any_call_is_left_out(
    hanging: str, before_start: bool, told: pytest.LogCaptureFixture
) -> None:
    whole = Hung(hanging, before_start=before_start)
    whole.run(None)
    assert whole.hanging.waits > 60
    [other] = set(whole.disks) - {hanging}
    left_out = 0
    for calls in range("ab".index(hanging), whole.hanging.waits, 2):
        told.clear()
        hung = Hung(hanging, before_start=before_start)
        taken = hung.run(calls)
        assert len(taken) == 18, calls
        assert hung.hanging.stood_still == []
        assert hung.slowest_s < LATE_AT_START_S + LATE_S, calls
        if any(f"without its copy on {hanging}: " in line and "no answer" in line for line in told.messages):
            left_out += 1
            assert members(hung.disks) == [other], calls
        assert seen({other: hung.disks[other]})[-6:] == taken[-6:], calls
    assert left_out > whole.hanging.waits * 0.4  # of a read another disk is asked, and that is all


def test_what_hangs_beside_the_writes_keeps_no_write_waiting() -> None:
    """The removal of a segment and the fill of the next: here the disk hangs for them alone."""

    class HangsBeside(FaultyDisk):
        async def run(self, work: Callable[[], T]) -> T:
            if self.hangs_after is not None:
                await asyncio.sleep(3_600)
            return await super().run(work)

    async def case() -> float:
        hanging = HangsBeside(SimulatedDisk(random.Random(2)))
        store = await Store.open({"a": SimulatedDisk(random.Random(1)), "b": hanging})
        await store.fill(0, 2)
        hanging.hangs_after = 1_000_000
        loop, slowest_s = asyncio.get_running_loop(), 0.0
        removing = asyncio.create_task(store.disk.remove("journal/000000000099.log"))
        for _ in range(8):
            begun_s = loop.time()
            await store.log.append(COMMANDS, [Entry(b"", b"x")], durable=True)
            slowest_s = max(slowest_s, loop.time() - begun_s)
        assert not removing.done()
        await removing
        assert store.disk.members == ["a"]
        return slowest_s

    assert virtual.run(case()) < 0.1


def test_an_archive_is_read_from_a_disk_that_answers() -> None:
    async def case() -> list[float]:
        faulty = {name: FaultyDisk(disk) for name, disk in new_disks().items()}
        store = await Store.open(faulty)
        taken = await store.fill(0)
        await others_done()
        file = await store.disk.open(f"{FOLDERS[1]}/{0:020}.log")
        faulty["a"].hang()
        loop, took_s = asyncio.get_running_loop(), list[float]()
        for _ in range(2):
            begun_s = loop.time()
            assert taken[0] in await file.read(1_000, 0)
            took_s.append(loop.time() - begun_s)
        assert store.disk.members == ["b", "a"]  # which says nothing of its writes
        return took_s

    first_s, second_s = virtual.run(case())
    assert ASK_S <= first_s < ASK_S + 0.1
    assert second_s < 0.1


@pytest.mark.parametrize("harmed", "ab")
def test_a_sector_that_cannot_be_read_is_written_again(harmed: str) -> None:
    disks = new_disks()
    taken = filled(disks)
    for folder in FOLDERS:
        for path, content in contents(disks[harmed]).items():
            if not path.startswith(folder) or len(content) <= SECTOR_BYTES:
                continue  # of one with a single sector nothing could be read
            faulty = {name: FaultyDisk(disk) for name, disk in disks.items()}
            faulty[harmed].break_sector(path, len(content) // 2)
            assert seen(faulty) == taken
            if any(content):
                assert faulty[harmed].bad == set(), path
            assert contents(disks["a"]) == contents(disks["b"])
    assert sorted(members(disks)) == ["a", "b"]
