"""An ordered map of bytes in RocksDB, below the views and the blob index: atomic batches, not synced.

What is kept in it can be made again (from the log, from the volumes); RocksDB's own write-ahead log spares a start that.
So a database that was found damaged is removed at the next start; until then it gives what is whole. With some flipped bits
RocksDB does not come back from an opening. That cannot be told from a process that was killed meanwhile, so only behind
`OPENINGS_MAX` of them in a row is the database put aside, under another name, and made anew.
"""

import faulthandler
import logging
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteBatch

WRITE_BUFFER_BYTES = 8 << 20  # times 17 partitions: stays far below the process's bound of 300 MiB
CACHE_BYTES = 64 << 20  # shared by all partitions
LOG_FILES_MAX = 2
DELETES_FLUSHED = 10_000  # a scan steps over each one that is not compacted away, and holds the interpreter meanwhile
DELETES_WINDOW = 4_096  # a file with a run of entries of which half are deletes is compacted
OPEN_S = 600.0  # takes milliseconds, or as long as a slow disk needs for WRITE_BUFFER_BYTES of log and a thousand files
OPENING_SLOW_S = 10.0  # is told
OPENINGS_MAX = 3  # in a row that did not end

_DAMAGED = "Corruption"  # how RocksDB begins to tell of it
_UNOPENED = (_DAMAGED, "MANIFEST")  # the second: the name of that file, in another one, has a flipped bit
_FOUND_DAMAGED, _OPENING = "DAMAGED", "OPENING"  # files
_ASIDE = ".aside"
log_ = logging.getLogger(__name__)
_cache = Cache(CACHE_BYTES)
_flusher = ThreadPoolExecutor(1, "flush")


@contextmanager
def _must_end(mark: Path) -> Iterator[None]:
    """Else the process ends, and `mark` stays, with how many openings in a row did not end.

    RocksDB holds the interpreter, so no thread of it could do that.
    """
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(str(_unended(mark) + 1))
    begun_s = time.monotonic()
    faulthandler.dump_traceback_later(OPEN_S, exit=True, file=sys.__stderr__ or 2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        mark.unlink()
        if (took_s := time.monotonic() - begun_s) > OPENING_SLOW_S:
            log_.warning("%s took %.0f s to open", mark.parent, took_s)


def _unended(mark: Path) -> int:
    """Openings in a row; an earlier release wrote no number."""
    return int(mark.read_text() or 1) if mark.exists() else 0


def open_database(path: Path) -> Rdict:
    """A database in raw mode, with this project's bounds on memory."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_keep_log_file_num(LOG_FILES_MAX)
    options.add_compact_on_deletion_collector_factory(DELETES_WINDOW, DELETES_WINDOW // 2, 0.5)
    table = BlockBasedOptions()
    table.set_block_cache(_cache)
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    with _must_end(path / _OPENING):
        return Rdict(str(path), options)


class DatabaseFailed(OSError):
    """RocksDB could not read or write, for the disk's sake: the same may go well later."""


class DatabaseDamaged(DatabaseFailed):
    """What is read fails its checksum."""


class RocksMap:
    """`damage` is what was found damaged since the start: who can should start again."""

    def __init__(self, path: Path) -> None:
        self.damage: DatabaseDamaged | None = None
        self._path = path
        self._deletes = 0  # since the last flush that was asked for
        self._flushing: Future[None] | None = None
        if (path / _FOUND_DAMAGED).exists():
            self._remove("it was found damaged")
        self._look_at_openings()
        try:
            self._database = open_database(path)
        except Exception as error:
            if not any(sign in str(error) for sign in _UNOPENED):
                raise OSError(str(error)) from error  # the disk's, or what it has is no database
            self._remove(error)
            self._database = open_database(path)

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._database.get(key)
        except Exception as error:
            raise self._told(error) from error
        return value

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        # compared here: an upper bound in ReadOptions is freed with them while the iterator still reads it
        last = None
        try:
            for key, value in self._database.items(from_key=start):
                if key >= end:
                    return
                last = key
                yield key, value
            # `items` ends at a damaged block as it does behind the last key: only an iterator's status tells
            rest = self._database.iter()
            rest.seek(start if last is None else last + b"\0")
            rest.status()
        except Exception as error:
            raise self._told(error) from error

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
                self._deletes += 1
            else:
                batch.put(key, value)
        try:
            self._database.write(batch)
        except Exception as error:
            raise self._told(error) from error
        if self._deletes > DELETES_FLUSHED and (self._flushing is None or self._flushing.done()):
            self._flushing = _flusher.submit(self._flush)

    def _flush(self) -> None:
        while self._deletes > DELETES_FLUSHED:
            self._deletes = 0
            self._database.flush()

    def clear(self) -> None:
        last = self._database.iter()
        last.seek_to_last()
        if last.valid():
            self._database.delete_range(b"", last.key() + b"\0")

    def sync(self) -> None:
        """What was committed survives a power cut."""
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise self._told(error) from error

    def close(self) -> None:
        if self._flushing is not None:
            wait([self._flushing])
        self._database.close()

    def _remove(self, why: object) -> None:
        log_.error("%s is made anew: %s", self._path, why)
        shutil.rmtree(self._path)

    def _look_at_openings(self) -> None:
        """What is put aside takes the place of what was put aside before."""
        unended = _unended(self._path / _OPENING)
        if 0 < unended < OPENINGS_MAX:
            log_.warning(
                "the last opening of %s did not end; this one may take up to %.0f s; behind %d in a row it is put aside",
                *(self._path, OPEN_S, OPENINGS_MAX),
            )
        if unended >= OPENINGS_MAX:
            aside = self._path.with_name(self._path.name + _ASIDE)
            shutil.rmtree(aside, ignore_errors=True)
            (self._path / _OPENING).unlink()
            self._path.rename(aside)
            log_.error(
                "%s is made anew: its last %d openings did not end; what was there is %s: remove it when all is well",
                *(self._path, unended, aside),
            )

    def _told(self, error: Exception) -> DatabaseFailed:
        if _DAMAGED not in str(error):
            return DatabaseFailed(f"{self._path} cannot be used now ({error}); check its disk")
        (self._path / _FOUND_DAMAGED).touch()
        self.damage = DatabaseDamaged(f"{self._path} is damaged ({error}): it is made anew when bucketlog starts again")
        return self.damage
