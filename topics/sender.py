"""Commands that nobody waits for: what reactors and data nodes ask for, and ask for again where it does not show."""

import uuid
from collections.abc import Callable

from topics import commands
from topics.log import Entry, Log
from topics.spec import TopicPartition

DEADLINE_MS = 30_000


class CommandSender:
    def __init__(self, log: Log, clock_ms: Callable[[], int]) -> None:
        self._log = log
        self._clock_ms = clock_ms

    async def __call__(self, body: commands.Body) -> None:
        """Returns when the log has it. Raises `LogError`."""
        command = commands.Command(uuid.uuid4().hex, "", "", self._clock_ms() + DEADLINE_MS, body)
        at = TopicPartition("commands", commands.partition_of(body))
        await self._log.append(at, [Entry(getattr(body, "bucket", "").encode(), commands.encode(command))], durable=False)
