"""The volume files of a node: a few are active, written in turn so that their syncs overlap; the rest are sealed."""

import logging

from datanode.volume import Volume
from topics.disk import Disk

VOLUME_BYTES = 1 << 30
ACTIVE_VOLUMES = 4
_FOLDER = "volumes"
_SUFFIX = ".vol"
log_ = logging.getLogger(__name__)


class Volumes:
    def __init__(self, disk: Disk, volume_bytes: int = VOLUME_BYTES) -> None:
        self.volume_bytes = volume_bytes
        self.unsettled_bytes = 0  # behind the synced positions: what a start would have to read again
        self.all: dict[int, Volume] = {}
        self._disk = disk
        self._active: list[int] = []
        self._turn = 0
        self._last = -1  # the highest number of a file that is here, whether it can be opened or not

    def open_all(self) -> list[Volume]:
        names = [name for name in self._disk.names(_FOLDER) if name.endswith(_SUFFIX)]
        if names:
            self._disk.sync_folder(_FOLDER)  # a killed process may not have got to it
        for name in names:
            number = self._last = int(name.removesuffix(_SUFFIX))
            try:
                self.all[number] = Volume(number, self._disk.open(_path(number)), 0)
            except OSError as error:
                log_.error("volume %d cannot be opened, what is in it is lost to this node: %s", number, error)
        return list(self.all.values())

    def activate(self, volume: Volume) -> None:
        """At start, where its end is known: it is written on if there is room."""
        if volume.end < self.volume_bytes and len(self._active) < ACTIVE_VOLUMES:
            self._active.append(volume.number)

    def next(self, adding: int) -> Volume:
        """The one whose turn it is to take `adding` bytes."""
        self.unsettled_bytes += adding
        self._turn = (self._turn + 1) % ACTIVE_VOLUMES
        if len(self._active) <= self._turn:
            self._active.append(self._new())
            self._turn = len(self._active) - 1
        volume = self.all[self._active[self._turn]]
        if volume.has_failed or (volume.end and volume.end + adding > self.volume_bytes):
            self._active[self._turn] = self._new()
            volume = self.all[self._active[self._turn]]
        return volume

    def is_active(self, number: int) -> bool:
        return number in self._active

    def seal(self, number: int) -> None:
        """Nothing more is written to it."""
        if number in self._active:
            self._active.remove(number)

    def delete(self, number: int) -> None:
        """The file of one that is taken out; durable on return."""
        self._disk.remove(_path(number))
        self._disk.sync_folder(_FOLDER)

    def close(self) -> None:
        for volume in self.all.values():
            volume.close()

    def _new(self) -> int:
        number = self._last = max(self._last, *self.all, -1) + 1
        self.all[number] = Volume(number, self._disk.open(_path(number)), 0)
        self._disk.sync_folder(_FOLDER)
        return number


def _path(number: int) -> str:
    return f"{_FOLDER}/{number:08}{_SUFFIX}"
