"""The blob index's table in RocksDB (raw mode; batches are synced only by `sync`, for volumes can rebuild them)."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from rocksdict import Options, Rdict, WriteBatch

WRITE_BUFFER_BYTES = 16 << 20
LOG_FILES_MAX = 2


class RocksTable:
    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        options.set_keep_log_file_num(LOG_FILES_MAX)
        self._database = Rdict(str(path), options)

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._database.get(key)
        return value

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        # compared here: an upper bound in ReadOptions is freed with them while the iterator still reads it
        for key, value in self._database.items(from_key=start):
            if key >= end:
                return
            yield key, value

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in changes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        self._database.write(batch)

    def sync(self) -> None:
        self._database.flush_wal(True)

    def close(self) -> None:
        self._database.close()
