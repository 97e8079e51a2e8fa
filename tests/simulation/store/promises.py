"""What the log has taken, while its process lives: an append that returned is there, though nobody has synced it yet."""

import sys
from collections import defaultdict
from collections.abc import Sequence

from tests.simulation.invariants import LogKeepsWhatItTook
from topics.embedded import EmbeddedLog
from topics.log import Entry
from topics.spec import TopicPartition

WATCHED = ("commands", "writes")  # the topics that are appended to unsynced


class Promises:
    """Of one life."""

    def __init__(self, log: EmbeddedLog) -> None:
        self._log = log
        self._taken: dict[TopicPartition, dict[int, bytes]] = defaultdict(dict)
        honest = log.append

        async def append(at: TopicPartition, entries: Sequence[Entry], *, durable: bool) -> list[int]:
            offsets = await honest(at, entries, durable=durable)
            if at.topic in WATCHED:
                self._taken[at].update(zip(offsets, (each.value for each in entries), strict=True))
            return offsets

        log.append = append  # type: ignore[method-assign]

    async def check(self) -> None:
        """But what was trimmed."""
        for at, taken in self._taken.items():
            earliest = await self._log.earliest(at)
            records = await self._log.read(at, earliest, records_max=sys.maxsize) if taken else []
            found = {each.offset: each.value for each in records}
            for offset in list(taken):
                if offset < earliest:
                    del taken[offset]
                elif found.get(offset) != taken[offset]:
                    raise LogKeepsWhatItTook(f"offset {offset} of {at} is not what was appended")
