"""What a start makes of volumes and index: each volume is scanned from its synced position, or whole.

Rules: a blob gets one place. Of two whole records of it the one that the index has stays, else the first in the order of
volumes; the other is released, but only when all volumes are synced, for either could be the one that a power cut takes.
A record that is not whole and not indexed is what a crash broke off: it is released. One that is indexed stays, to be
found damaged; so does one that the disk cannot read, which no crash explains. What was synced and is gone (a file that is
missing, too short, or cannot be opened) is counted as lost, by group. A disk that fails in one place keeps no store from
its start: what could not be done is done by the next one.
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from datanode import layout
from datanode.index import BlobIndex, Change, Place
from datanode.volume import Found, Volume
from datanode.volumes import Volumes

REMOVED_AT_ONCE = 10_000
FOUND_AT_ONCE = 10_000  # records that are in memory before the index has them: ~5 MB
TOLD_EVERY_S = 10.0
log_ = logging.getLogger(__name__)


class _Surplus(NamedTuple):
    volume: Volume
    offset: int
    blob: bytes
    length: int


def recover(volumes: Volumes, index: BlobIndex) -> dict[int, int]:
    """Of each group, how many blobs were lost."""
    surplus: list[_Surplus] = []
    cut_off: dict[int, int] = {}  # volumes shorter than they were: their size
    progress = _Progress()
    for volume in volumes.open_all():
        synced = index.synced(volume.number)
        if (size := volume.size()) < synced.end:
            cut_off[volume.number] = size
            volume.extend(max(size, synced.below))
        volume.count_holes(index.hole_bytes(volume.number))
        surplus += _Scan(volumes, index, volume, progress).run(synced.below)
        volumes.activate(volume)
    _release(volumes, surplus)
    missing = index.volumes() - volumes.all.keys()
    lost = Counter[int]()
    if cut_off or any(index.live_bytes(number) for number in missing):
        lost = _remove_lost(index, cut_off | dict.fromkeys(missing, 0))
    for number in missing:
        index.forget_volume(number)
    return dict(lost)


class _Progress:
    """Of a start that takes long, as without an index: told from time to time."""

    def __init__(self) -> None:
        self._found = 0
        self._told_s = time.monotonic()

    def found(self, volume: int, offset: int, size: int) -> None:
        self._found += 1
        if (now_s := time.monotonic()) - self._told_s >= TOLD_EVERY_S:
            self._told_s = now_s
            share = 100 * offset / max(size, 1)
            log_.warning("volume %d is read to %.0f %%, %d records were found so far", volume, share, self._found)


class _Scan:
    """Of one volume, into the index."""

    def __init__(self, volumes: Volumes, index: BlobIndex, volume: Volume, progress: _Progress) -> None:
        self._progress = progress
        self._volumes = volumes
        self._index = index
        self._volume = volume
        self._found: dict[tuple[int, bytes], Change] = {}
        self._surplus: list[_Surplus] = []

    def run(self, start: int) -> list[_Surplus]:
        size = self._volume.size()
        for found in self._volume.scan(start):
            self._volumes.unsettled_bytes += found.header.length
            self._volume.note_unsynced([found.header.group])
            self._progress.found(self._volume.number, found.offset, size)
            self._take(found)
            if len(self._found) >= FOUND_AT_ONCE:
                self._store()
        self._store()
        return self._surplus

    def _store(self) -> None:
        if self._found:
            self._index.change(list(self._found.values()))
            self._found.clear()

    def _take(self, found: Found) -> None:
        group, blob, partition, length, is_released = found.header
        here = Place(self._volume.number, found.offset, length, partition)
        pending = self._found.get((group, blob))
        indexed = pending.old if pending else self._index.find(group, blob)
        known = pending.new if pending else indexed
        new: Place | None = here
        if is_released:
            if known != here:
                return
            new = None
        elif known == here:
            return  # whole or not: who reads it will see
        elif not self._may_stand(found):
            self._volume.release(found.offset, blob, length)
            return
        elif known is not None:
            is_known_live = self._is_live(blob, known)
            self._give_up(blob, here if is_known_live else known)
            if is_known_live:
                return
        self._found[group, blob] = Change(group, blob, indexed, new)

    def _may_stand(self, found: Found) -> bool:
        """Whether the record is whole, or nobody can say."""
        try:
            self._volume.check(found.header.blob, found.offset, found.header.length)
        except layout.BlobUnreadable as error:
            log_.error("blob %s of group %d is damaged: %s", found.header.blob.hex(), found.header.group, error)
        except layout.BlobCorrupt:
            return False
        return True

    def _is_live(self, blob: bytes, place: Place) -> bool:
        volume = self._volumes.all.get(place.volume)
        return volume is not None and volume.has_live(blob, place.offset, place.length)

    def _give_up(self, blob: bytes, place: Place) -> None:
        if (volume := self._volumes.all.get(place.volume)) is not None:
            self._surplus.append(_Surplus(volume, place.offset, blob, place.length))


def _release(volumes: Volumes, surplus: list[_Surplus]) -> None:
    try:
        if surplus:
            for volume in volumes.all.values():
                volume.sync_now()
    except OSError as error:
        log_.error("what is here twice stays until the next start: a volume cannot be synced: %s", error)
        return
    for volume, offset, blob, length in surplus:
        volume.release(offset, blob, length)


def _remove_lost(index: BlobIndex, sizes: Mapping[int, int]) -> Counter[int]:
    """Entries of records that end behind what is left of their volumes, by group. The groups' positions go with them: until
    the node has told what it lost, each start finds that the log has gone on without it."""
    lost = Counter[int]()
    changes: list[Change] = []
    for group, blob, place in index.entries():
        end = place.offset + layout.record_bytes(place.length)
        if end <= sizes.get(place.volume, end):
            continue
        if not lost[group]:
            index.forget_position(group)
        lost[group] += 1
        changes.append(Change(group, blob, place, None))
        if len(changes) >= REMOVED_AT_ONCE:
            index.change(changes)
            changes = []
    index.change(changes)
    index.sync()
    return lost
