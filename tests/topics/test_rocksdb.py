"""A database with flipped bits: nothing wrong is read, and the next start makes it anew."""

import os
from pathlib import Path

import pytest

from topics.rocksdb import DatabaseDamaged, RocksMap


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    database = RocksMap(tmp_path / "database")
    database.commit({b"k%06d" % number: os.urandom(100) for number in range(5_000)})
    database.close()
    RocksMap(tmp_path / "database").close()  # what was in the write-ahead log is in a table
    return tmp_path / "database"


def _flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_damage_is_told_and_gone_with_the_next_start(folder: Path) -> None:
    for path in folder.glob("*.sst"):
        _flip(path, path.stat().st_size // 2)
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
    _flip(folder / "CURRENT", len("MANIFEST-0000"))
    database = RocksMap(folder)
    assert list(database.scan(b"k", b"l")) == []
    database.close()


def test_one_that_is_open_elsewhere_is_left_alone(folder: Path) -> None:
    database = RocksMap(folder)
    with pytest.raises(Exception, match="lock"):
        RocksMap(folder)
    assert len(list(database.scan(b"k", b"l"))) == 5_000
    database.close()
