"""A view that counts what the runtime asks of it, so that a command that reads the whole bucket shows."""

import contextvars
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest

from processors.machine import tables
from processors.machine.tables import Cut
from processors.memory import MemoryView
from processors.runtime import PartitionRuntime
from processors.view import Overlay
from tests.simulation.store.clients import PARTS_MAX
from topics import commands
from topics.log import Record

OPERATIONS_A_COMMAND = 30  # most have less than 12
OPERATIONS_A_PART = 10  # of an upload that is completed or given up
OPERATIONS_A_DISCARD = 30  # of a few parts; of several in a batch each steps over what those before it deleted
_GARBAGE = (tables.garbage_key(Cut())[:2], tables.blob_key("")[:2])
IS_COUNTED: contextvars.ContextVar[bool] = contextvars.ContextVar("is counted", default=False)


class MeteredView(MemoryView):
    """Counts rows that are looked up, passed by a scan, or written, while a runtime handles commands."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.forgetting = 0  # rows of garbage and of its blobs: 1 for each fold that forgets it, 1 as it is deleted here

    def get(self, key: bytes) -> bytes | None:
        self.operations += IS_COUNTED.get()
        return super().get(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        for row in super().scan(start, end):
            self.operations += IS_COUNTED.get()
            yield row

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.operations += len(changes) if IS_COUNTED.get() else 0
        self.count_forgetting(key for key, row in changes.items() if row is None)
        super().commit(changes)

    def count_forgetting(self, deleted: Iterable[bytes]) -> None:
        self.forgetting += sum(key.startswith(_GARBAGE) for key in deleted) if IS_COUNTED.get() else 0


def count_folds(patch: pytest.MonkeyPatch) -> None:
    """From here on views count what is forgotten by any fold over them, also by one that is not committed.

    A decision is folded as it is made, and again from the log where that has others before it: its rows are read twice.
    """
    honest = Overlay.delete

    def delete(overlay: Overlay, key: bytes) -> None:
        honest(overlay, key)
        if isinstance(overlay._base, MeteredView):
            overlay._base.count_forgetting([key])

    patch.setattr(Overlay, "delete", delete)


def metered(runtime: PartitionRuntime, view: MeteredView, told: list[str]) -> None:
    """From here on it is told where `runtime` asks too much."""
    honest = runtime.handle

    async def handle(records: Sequence[Record]) -> None:
        operations, forgetting = view.operations, view.forgetting
        token = IS_COUNTED.set(True)
        try:
            await honest(records)
        finally:
            IS_COUNTED.reset(token)
        bodies = [commands.decode(each.value).body for each in records]
        parts = sum(PARTS_MAX for body in bodies if isinstance(body, commands.CompleteUpload | commands.AbortUpload))
        allowed = OPERATIONS_A_COMMAND * len(records) + OPERATIONS_A_PART * parts
        allowed += OPERATIONS_A_DISCARD * sum(isinstance(body, commands.DiscardParts) for body in bodies)
        allowed += view.forgetting - forgetting
        if view.operations - operations > allowed:
            told.append(f"{view.operations - operations} operations on the view, not {allowed}, for {bodies}")

    runtime.handle = handle  # type: ignore[method-assign]
