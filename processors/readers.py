"""Whether reads that began before a mark still go on: garbage waits for its readers.

Assumptions: `topics.readers`. An owner appends a mark after it has noted what is garbage; a read that began after a gateway
had seen the mark cannot refer to that garbage. A gateway that fell silent has ended its reads when its lease lapsed. Its
silence is counted up to a mark that was read back, so what had come before it was heard, however late.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Protocol

from topics import readers
from topics.log import Entry, Log, LogError, OffsetTrimmed, Record, UnknownRecord, decoded
from topics.readers import AT, LEASE_S, Mark, Reading

GONE_S = LEASE_S + 10.0  # the read of a window that was under way when the lease lapsed has ended
AGAIN_S = 0.5
log_ = logging.getLogger(__name__)


class Readers(Protocol):
    async def mark(self) -> int:
        """A moment; those that are asked for later are greater. Raises `LogError`."""
        ...

    def is_past(self, mark: int) -> bool:
        """Whether no read goes on that began before it. False where that is not known."""
        ...


class LogReaders:
    """Of all gateways of a cluster."""

    def __init__(self, log: Log, owner: str, clock_s: Callable[[], float]) -> None:
        self._log = log
        self._owner = owner
        self._clock_s = clock_s
        self._gateways: dict[str, tuple[int, float]] = {}  # → its oldest stamp, when it was heard
        self._unknown_s = -math.inf  # when a word was heard that no codec knows
        self._sent_s: dict[int, float] = {}  # number of an own mark → when it was sent
        self._numbers = 0
        self._since_s = math.inf  # everything is heard since then
        self._known_s = -math.inf  # until when everything is heard
        self._seen = -1  # the offset of the own mark that was read back last

    async def mark(self) -> int:
        self._numbers += 1
        self._sent_s[self._numbers] = self._clock_s()
        try:
            [offset] = await self._log.append(
                AT, [Entry(b"", readers.encode(Mark(self._owner, self._numbers)))], durable=True
            )
        except LogError:
            self._sent_s.pop(self._numbers, None)
            raise
        return offset

    def is_past(self, mark: int) -> bool:
        if mark > self._seen or self._known_s - max(self._since_s, self._unknown_s) < GONE_S:
            return False
        return all(oldest > mark for oldest, _ in self._gateways.values())

    async def run(self) -> None:
        """Follow the topic for ever."""
        while True:
            self._since_s = math.inf
            try:
                async for batch in self._log.follow(AT, await self._log.latest(AT)):
                    for record in batch:
                        self._take(record)
            except OffsetTrimmed:
                continue
            except LogError as error:
                log_.warning("what readers say cannot be followed, and will be again: %s", error)
                await asyncio.sleep(AGAIN_S)

    def _take(self, record: Record) -> None:
        try:
            said = decoded(AT, record, readers.decode)
        except UnknownRecord as error:
            log_.error("no garbage is given back for %g s: %s", GONE_S, error)
            self._unknown_s = self._clock_s()
            return
        match said:
            case Reading(gateway, has_left=True):
                self._gateways.pop(gateway, None)
            case Reading(gateway, oldest):
                self._gateways[gateway] = (oldest, self._clock_s())
            case Mark(owner, number) if owner == self._owner and number in self._sent_s:
                self._heard_up_to(self._sent_s.pop(number), record.offset)

    def _heard_up_to(self, sent_s: float, offset: int) -> None:
        self._seen, self._known_s = offset, sent_s
        if self._since_s == math.inf:
            self._since_s = sent_s
        silent = [name for name, (_, heard_s) in self._gateways.items() if sent_s - heard_s > GONE_S]
        for name in silent:
            del self._gateways[name]
