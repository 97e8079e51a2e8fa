"""A database with flipped bits: nothing wrong is read, and the next start makes it anew."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rocksdict import ReadOptions

from tests.flips import flip
from topics.rocksdb import DELETES_FLUSHED, OPENINGS_MAX, DatabaseDamaged, RocksMap


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    database = RocksMap(tmp_path / "database")
    database.commit({b"k%06d" % number: os.urandom(100) for number in range(5_000)})
    database.close()
    RocksMap(tmp_path / "database").close()  # what was in the write-ahead log is in a table
    return tmp_path / "database"


def test_damage_is_told_and_gone_with_the_next_start(folder: Path) -> None:
    for path in folder.glob("*.sst"):
        flip(path, path.stat().st_size // 2)
    database = RocksMap(folder)
    with pytest.raises(DatabaseDamaged, match="made anew when bucketlog starts again") as raised:
        list(database.scan(b"k", b"l"))
    assert database.damage is raised.value
    with pytest.raises(DatabaseDamaged):
        [database.get(b"k%06d" % number) for number in range(5_000)]
    database.close()
    del raised
    database = RocksMap(folder)
    assert (list(database.scan(b"k", b"l")), database.damage) == ([], None)
    database.commit({b"k": b"v"})
    database.close()
    database = RocksMap(folder)
    assert database.get(b"k") == b"v"
    database.close()


def test_a_database_that_does_not_open_for_damage_is_made_anew(folder: Path) -> None:
    flip(folder / "CURRENT", len("MANIFEST-0000"))
    database = RocksMap(folder)
    assert list(database.scan(b"k", b"l")) == []
    database.close()


def opening(folder: Path, does: str) -> subprocess.CompletedProcess[str]:
    """A process in which RocksDB does not come back from an opening."""
    hung = f"""if True:
        import ctypes, os, signal
        from pathlib import Path
        from topics import rocksdb
        rocksdb.OPEN_S = 0.2
        rocksdb.Rdict = lambda *_: {does}
        rocksdb.RocksMap(Path({str(folder)!r}))
    """
    return subprocess.run([sys.executable, "-c", hung], capture_output=True, text=True, timeout=30, check=False)


HANGS = "ctypes.PyDLL(None).sleep(60)"  # holds the interpreter as RocksDB does
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(("does", "code"), [(HANGS, 1), (KILLED, -signal.SIGKILL)])
def test_openings_that_do_not_end_cost_nothing_until_there_are_several_in_a_row(folder: Path, does: str, code: int) -> None:
    aside = folder.with_name("database.aside")
    for _ in range(2):
        for _ in range(OPENINGS_MAX - 1):
            ended = opening(folder, does)
            assert (ended.returncode, "open_database" in ended.stderr) == (code, does == HANGS)
        database = RocksMap(folder)
        assert len(list(database.scan(b"k", b"l"))) == 5_000
        database.close()
        assert not aside.exists()
    for number in range(OPENINGS_MAX):
        assert ("did not end" in opening(folder, does).stderr) == (number > 0)
    database = RocksMap(folder)
    assert list(database.scan(b"k", b"l")) == []
    database.close()
    database = RocksMap(aside)
    assert len(list(database.scan(b"k", b"l"))) == 5_000
    database.close()


def test_what_was_put_aside_gives_way_to_the_next(folder: Path) -> None:
    for _ in range(2):
        (folder / "OPENING").write_text(str(OPENINGS_MAX))
        RocksMap(folder).close()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["database", "database.aside"]


def test_one_that_is_open_elsewhere_is_left_alone(folder: Path) -> None:
    database = RocksMap(folder)
    with pytest.raises(Exception, match="lock"):
        RocksMap(folder)
    assert len(list(database.scan(b"k", b"l"))) == 5_000
    database.close()


def test_deletes_are_compacted_away_before_a_scan_has_many_to_step_over(tmp_path: Path) -> None:
    """Many deletes in a run hold the interpreter while RocksDB steps over them: 50 ms for 150,000."""
    database = RocksMap(tmp_path / "database")
    keys = [b"k%06d" % number for number in range(150_000)]
    for change in (b"v" * 100, None):
        for start in range(0, len(keys), 1_000):
            database.commit(dict.fromkeys(keys[start : start + 1_000], change))
    bounded = ReadOptions()
    bounded.set_max_skippable_internal_keys(3 * DELETES_FLUSHED)

    def is_bounded() -> bool:
        scan = database._database.iter(bounded)
        scan.seek(b"k")
        try:
            scan.status()
        except Exception:  # noqa: BLE001 - "Too many internal keys skipped"
            return False
        return True

    deadline = time.monotonic() + 30
    while not is_bounded():  # compaction goes on beside
        assert time.monotonic() < deadline
        time.sleep(0.05)
    database.close()
