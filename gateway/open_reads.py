"""The reads of payloads that go on in this gateway: what they read is not given back before they end.

A read begins before its metadata is asked for. It is stamped with the moment that the gateway knows then, a number that
never goes back: in one process a count of marks, in a cluster how far the topic `readers` was followed. What became garbage
before a mark may go once each read's stamp is above it.
In a cluster the gateway's word is good for a lease. Without one no read begins, and those that go on end at their next
window. So does one that takes longer than an operator allows.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable

from gateway.errors import S3Error
from topics import readers
from topics.following import followed
from topics.log import Entry, Log, LogError, OffsetTrimmed
from topics.readers import AT, LEASE_S, SAY_EVERY_S, Reading
from topics.spec import TopicPartition

READ_MAX_S = 6 * 3600.0
PATIENCE_S = 10.0  # for a lease after brokers were away


class ReadEnded(S3Error):
    """What it reads may be gone any moment: to be tried again, for nothing is damaged."""

    def __init__(self) -> None:
        super().__init__(
            "ServiceUnavailable", "The read took longer than it may, or this gateway was cut off from the log."
        )


class OpenReads:
    """`processors.readers.Readers` of one process."""

    def __init__(
        self, read_max_s: float = READ_MAX_S, clock_s: Callable[[], float] = time.monotonic, *, needs_lease: bool = False
    ) -> None:
        self._read_max_s = read_max_s
        self._clock_s = clock_s
        self._open: dict[int, tuple[int, float]] = {}  # read → its stamp, when it began; the oldest is the first
        self._begun = 0
        self._lapses_s = -math.inf if needs_lease else math.inf
        self._waiters: list[asyncio.Future[None]] = []
        self.moment = 0

    async def begin(self) -> int:
        """Waits for a lease, but not for long. Raises ServiceUnavailable."""
        while (now_s := self._clock_s()) >= self._lapses_s:
            await self._next_lease()
        self._begun += 1
        self._open[self._begun] = (self.moment, now_s)
        return self._begun

    def check(self, read: int) -> None:
        """Raises `ReadEnded` where it may not go on. What takes too long is ended when somebody waits for it: `oldest`."""
        if self._lapses_s < math.inf:
            self._end_overdue()
        if read not in self._open:
            raise ReadEnded

    def end(self, read: int) -> None:
        self._open.pop(read, None)

    def oldest(self) -> int:
        """The stamp of the oldest read; of one that would begin now, where there is none."""
        self._end_overdue()
        return next(iter(self._open.values()), (self.moment, 0.0))[0]

    def hold(self, until_s: float) -> None:
        """The lease is good until then. Whatever lapsed before is over, though its word came through after all."""
        self._end_overdue()
        self._lapses_s = max(self._lapses_s, until_s)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _next_lease(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await asyncio.wait_for(waiter, PATIENCE_S)
        except TimeoutError:
            raise S3Error("ServiceUnavailable") from None

    async def mark(self) -> int:
        self.moment += 1
        return self.moment - 1

    def is_past(self, mark: int) -> bool:
        return self.oldest() > mark

    def _end_overdue(self) -> None:
        now_s = self._clock_s()
        if now_s >= self._lapses_s:
            self._open.clear()
        while self._open and (first := next(iter(self._open))) and self._open[first][1] + self._read_max_s <= now_s:
            del self._open[first]


async def follow(log: Log, reads: OpenReads) -> None:
    """The topic, for ever. What is gone before it was read matters not: until then reads are stamped with less.

    Raises `LogError`, also where the log has lost its end: what reads are stamped with would come again.
    """

    async def end(at: TopicPartition) -> int:
        if (found := await log.latest(at)) < reads.moment:
            raise LogError(f"{at.topic} ends at {found}, before what was read of it: the log has lost its end")
        reads.moment = found
        return found

    while True:
        with contextlib.suppress(OffsetTrimmed):
            async for batch in followed(log, AT, end):
                reads.moment = max(reads.moment, batch[-1].offset + 1)


async def say(log: Log, gateway: str, reads: OpenReads, clock_s: Callable[[], float] = time.monotonic) -> None:
    """Each second, for ever; at its end that the gateway has left."""
    try:
        while True:
            sent_s = clock_s()
            try:
                await log.append(AT, [Entry(b"", readers.encode(Reading(gateway, reads.oldest())))], durable=True)
                reads.hold(sent_s + LEASE_S)
            except LogError:
                pass  # the next one may get through; until then the lease runs out
            await asyncio.sleep(SAY_EVERY_S)
    finally:
        await _leave(log, gateway)


async def _leave(log: Log, gateway: str) -> None:
    try:
        async with asyncio.timeout(SAY_EVERY_S):
            await log.append(AT, [Entry(b"", readers.encode(Reading(gateway, 0, has_left=True)))], durable=True)
    except (LogError, TimeoutError):
        return  # its silence will tell
