"""A database with flipped bits: nothing wrong is read, and the next start makes it anew."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rocksdict import ReadOptions

from tests.flips import flip
from topics.rocksdb import DELETES_FLUSHED, DatabaseDamaged, RocksMap


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


def test_a_database_whose_opening_does_not_end_is_made_anew_by_the_next_start(folder: Path) -> None:
    hung = f"""if True:
        import ctypes
        from pathlib import Path
        from topics import rocksdb
        rocksdb.OPEN_S = 0.2
        rocksdb.Rdict = lambda *_: ctypes.PyDLL(None).sleep(60)  # holds the interpreter as RocksDB does
        rocksdb.RocksMap(Path({str(folder)!r}))
    """
    ended = subprocess.run([sys.executable, "-c", hung], capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, "open_database" in ended.stderr) == (1, True)
    database = RocksMap(folder)
    assert list(database.scan(b"k", b"l")) == []
    database.commit({b"k": b"v"})
    database.close()
    database = RocksMap(folder)
    assert database.get(b"k") == b"v"
    database.close()


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
