"""The blob index of a simulated node: a view's map in memory that loses its last commits in a power cut."""

from collections.abc import Mapping

from processors.memory import MemoryView


class MemoryTable(MemoryView):
    """Knob: `is_frozen`, as the disk's: its process is dead."""

    is_frozen = False
    damage = None

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        if not self.is_frozen:
            super().commit(changes)

    def sync(self) -> None:
        self._undo.clear()
