"""Compaction: what is live in a volume full of garbage moves into active volumes, then the file goes.

Rules: a record is copied, the copy synced, the index switched; only when nothing of a volume is indexed any more and the
index is synced, its file is removed. So a crash at any point leaves the old record or the new one in the index, never
both and never none; the copy that the index does not have is garbage, or is found twice by the scan of a start. What is
verified is copied; a damaged record stays where it is, with its volume, and is reported: a part of it may still be read,
and a replica's whole one takes its place. A volume that a writer is open in is left alone. What fails for one volume
keeps no other from its turn.
A blob that is released while its volume moves may come back as garbage if then the process crashes and the index is lost.
Errors: `OSError`; `DiskFull` where copies would eat into the last quarter of the reserve.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial

from datanode import layout
from datanode.index import Change, Entry, Place
from datanode.store import VolumeStore
from datanode.volume import PIECE_BYTES, Found, Volume
from datanode.writer import RecordWriter

GARBAGE_SHARE_MAX = 0.3  # so that disks hold at most 1 / (1 - 0.3) = 1.43 times what is live
LIVE_SHARE_MIN = 0.1  # of its length: a file mostly of holes costs little to copy, and a file descriptor to keep
SEAL_SHARE = 1 / 16  # of a full volume: as much garbage seals an active one early
BATCH_BYTES, BATCH_RECORDS = 4 << 20, 256  # between two syncs; the second: ~2 ms of the loop
SMALL_BYTES = 256 << 10  # above, a record is copied in pieces
BYTES_PER_S = 100 << 20  # of copies: leaves a disk to those who wait for it
PERIOD_S = 10.0
OnDamaged = Callable[[int, bytes], None]
log_ = logging.getLogger(__name__)


def tell_damaged(group: int, blob: bytes) -> None:
    log_.error("blob %s of group %d is damaged on this node", blob.hex(), group)


class Compactor:
    def __init__(
        self, store: VolumeStore, on_damaged: OnDamaged = tell_damaged, *, bytes_per_s: float = BYTES_PER_S
    ) -> None:
        self._store = store
        self._on_damaged = on_damaged
        self._bytes_per_s = bytes_per_s
        self._stuck: dict[int, int] = {}  # volumes kept for their damaged records: live bytes

    async def run(self, period_s: float = PERIOD_S) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(period_s)
            try:
                await self.compact()
            except OSError as error:
                log_.error("not all volumes could be compacted, this will be tried again: %s", error)

    async def compact(self) -> None:
        """All volumes that are worth it now; first what gives most room for the least copying. Raises the last error."""
        failure: OSError | None = None
        for volume in sorted(self._store.volumes.all.values(), key=lambda each: self._store.index.live_bytes(each.number)):
            if self._is_worth(volume):
                try:
                    await self._compact(volume)
                except OSError as error:
                    failure = error
        if failure is not None:
            raise failure

    def _is_worth(self, volume: Volume) -> bool:
        store = self._store
        if volume.open_bytes:
            return False
        live, garbage = store.index.live_bytes(volume.number), store.garbage_bytes(volume)
        if self._stuck.get(volume.number) == live:
            return False
        if volume.has_failed:
            return True
        if store.volumes.is_active(volume.number) and garbage < store.volumes.volume_bytes * SEAL_SHARE:
            return False
        return live < volume.end * LIVE_SHARE_MIN or garbage > (live + garbage) * GARBAGE_SHARE_MAX or not live

    async def _compact(self, volume: Volume) -> None:
        self._store.volumes.seal(volume.number)
        index = self._store.index
        if index.live_bytes(volume.number):
            async for batch in self._by_headers(volume):
                await self._copy(volume, batch)  # what is damaged is left for the second pass
        groups = set[int]()
        if index.live_bytes(volume.number):  # damaged: their headers, or more
            async for batch in self._by_index(volume):
                for entry in await self._copy(volume, batch):
                    groups.add(entry.group)
                    self._on_damaged(entry.group, entry.blob)
        if live := index.live_bytes(volume.number):
            self._stuck[volume.number] = live
            volume.only_doubtful(groups)
            return
        await self._store.answers()
        await self._store.remove_volume(volume.number)
        self._stuck.pop(volume.number, None)

    async def _by_headers(self, volume: Volume) -> AsyncIterator[list[Entry]]:
        """The live records of a volume in the order in which they lie in it; spares a pass over the whole index."""
        at = 0
        while found := await self._store.disk.run(partial(_headers, volume, at)):
            at = found[-1].offset + layout.record_bytes(found[-1].header.length)
            batch = []
            for offset, header in found:
                place = self._store.find(header.group, header.blob)
                if place is not None and (place.volume, place.offset) == (volume.number, offset):
                    batch.append(Entry(header.group, header.blob, place))
            yield batch

    async def _by_index(self, volume: Volume) -> AsyncIterator[list[Entry]]:
        """The same of those that are left."""
        group, after = 0, b""
        while page := self._store.index.page(group, after, BATCH_RECORDS):
            group, after, _ = page[-1]
            yield [entry for entry in page if entry.place.volume == volume.number]
            await asyncio.sleep(0)

    async def _copy(self, volume: Volume, batch: Sequence[Entry]) -> list[Entry]:
        """Those that are damaged, and not copied."""
        size = sum(layout.record_bytes(entry.place.length) for entry in batch)
        self._store.space.require_for_compaction(size)
        small = [entry for entry in batch if entry.place.length <= SMALL_BYTES]
        damaged = await self._copy_small(volume, small) if small else []
        for entry in batch:
            if entry.place.length > SMALL_BYTES and not await self._copy_large(volume, entry):
                damaged.append(entry)
        await asyncio.sleep(size / self._bytes_per_s)
        return [entry for entry in damaged if self._store.find(entry.group, entry.blob) == entry.place]

    async def _copy_small(self, volume: Volume, entries: Sequence[Entry]) -> list[Entry]:
        payloads = await self._store.disk.run(partial(_read_all, volume, entries))
        records = {
            entry: layout.record(entry.group, entry.blob, entry.place.partition, data)
            for entry, data in zip(entries, payloads, strict=True)
            if data is not None
        }
        await self._store.answers()
        with self._store.space.watched:
            target = self._store.volumes.next(sum(map(len, records.values())))
            region = at = target.append_open(b"".join(records.values()))
        copies = {}
        for entry, record in records.items():
            copies[entry] = entry.place._replace(volume=target.number, offset=at)
            at += len(record)
        try:
            with self._store.space.watched:
                await target.sync()
            self._switch(copies)
        except BaseException:
            self._store.give_back((copy, entry.blob) for entry, copy in copies.items())
            raise
        finally:
            target.close_region(region)
        return [entry for entry in entries if entry not in records]

    def _switch(self, copies: Mapping[Entry, Place]) -> None:
        """To the synced copies; but what was released or replaced meanwhile stays so."""
        changes, unused = [], []
        for (group, blob, old), copy in copies.items():
            if self._store.find(group, blob) == old:
                changes.append(Change(group, blob, old, copy))
            else:
                unused.append((copy, blob))
        self._store.give_back(unused)
        self._store.index.change(changes)

    async def _copy_large(self, volume: Volume, entry: Entry) -> bool:
        """Whether it was whole."""
        group, blob, (_, offset, length, partition) = entry
        await self._store.answers()
        with self._store.space.watched:
            target = self._store.volumes.next(layout.record_bytes(length))
            writer = RecordWriter(self._store.disk, target, group, blob, partition, length)
            try:
                for start in range(0, length, PIECE_BYTES):
                    size = min(PIECE_BYTES, length - start)
                    read = partial(_read, volume, blob, offset, length, start, size)
                    await writer.write(await self._store.disk.run(read))
                self._switch({entry: entry.place._replace(volume=target.number, offset=await writer.commit())})
            except BaseException as error:
                self._store.when_it_answers(writer.abort)
                if isinstance(error, layout.BlobCorrupt):
                    return False
                raise
        return True


def _headers(volume: Volume, at: int) -> list[Found]:
    """Of the next records from `at`, a batch."""
    batch: list[Found] = []
    with volume.held():
        start = at
        while len(batch) < BATCH_RECORDS and at - start < BATCH_BYTES and (found := volume.next_record(at)) is not None:
            batch.append(found)
            at = found.offset + layout.record_bytes(found.header.length)
    return batch


def _read_all(volume: Volume, entries: Sequence[Entry]) -> list[bytes | None]:
    """None for what is damaged."""
    payloads: list[bytes | None] = []
    with volume.held():
        for _, blob, (_, offset, length, _) in entries:
            try:
                payloads.append(volume.read(blob, offset, length, 0, length))
            except layout.BlobCorrupt:
                payloads.append(None)
    return payloads


def _read(volume: Volume, blob: bytes, offset: int, length: int, start: int, size: int) -> bytes:
    with volume.held():
        return volume.read(blob, offset, length, start, size)
