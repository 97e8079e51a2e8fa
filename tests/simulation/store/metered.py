"""A view that counts what the runtime asks of it, so that a command that reads the whole bucket shows."""

import contextvars
from collections.abc import Iterator, Mapping, Sequence

from processors.memory import MemoryView
from processors.runtime import PartitionRuntime
from tests.simulation.store.clients import PARTS_MAX
from topics import commands
from topics.log import Record

OPERATIONS_A_COMMAND = 30  # most have less than 12
OPERATIONS_A_PART = 10  # of an upload that is completed or given up
IS_COUNTED: contextvars.ContextVar[bool] = contextvars.ContextVar("is counted", default=False)


class MeteredView(MemoryView):
    """Counts rows that are looked up, passed by a scan, or written, while a runtime handles commands."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def get(self, key: bytes) -> bytes | None:
        self.operations += IS_COUNTED.get()
        return super().get(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        for row in super().scan(start, end):
            self.operations += IS_COUNTED.get()
            yield row

    def commit(self, changes: Mapping[bytes, bytes | None]) -> None:
        self.operations += len(changes) if IS_COUNTED.get() else 0
        super().commit(changes)


def metered(runtime: PartitionRuntime, view: MeteredView, told: list[str]) -> None:
    """From here on it is told where `runtime` asks too much. (To forget what was released takes a row each.)"""
    honest = runtime.handle

    async def handle(records: Sequence[Record]) -> None:
        before = view.operations
        token = IS_COUNTED.set(True)
        try:
            await honest(records)
        finally:
            IS_COUNTED.reset(token)
        bodies = [commands.decode(each.value).body for each in records]
        parts = sum(PARTS_MAX for body in bodies if isinstance(body, commands.CompleteUpload | commands.AbortUpload))
        is_much = view.operations - before > OPERATIONS_A_COMMAND * len(records) + OPERATIONS_A_PART * parts
        if is_much and not any(isinstance(body, commands.ForgetReleased) for body in bodies):
            told.append(f"{view.operations - before} operations on the view for {bodies}")

    runtime.handle = handle  # type: ignore[method-assign]
