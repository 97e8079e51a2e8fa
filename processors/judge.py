"""Drives `processors.liveness` from the topic `heartbeats`: ticks, judgement, and the trim of what all nodes have.

It runs wherever the control partition is owned; what it asks for twice changes nothing.
Errors: a heartbeat that cannot be read is told and passed over: its node is judged by what it says next.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable

from processors.liveness import Liveness
from topics import commands, heartbeats
from topics.heartbeats import EVERY_S, Heartbeat, Tick
from topics.log import Entry, Log, LogError, OffsetTrimmed, Record
from topics.placement import Placement
from topics.secret import ClusterSecret
from topics.spec import TopicPartition

AT = TopicPartition("heartbeats", 0)
AGAIN_S = 0.5
TRIM_EVERY = 5  # ticks
Submit = Callable[[commands.Body], Awaitable[None]]
log_ = logging.getLogger(__name__)


class Judge:
    def __init__(
        self,
        log: Log,
        liveness: Liveness,
        secret: ClusterSecret,
        placement: Callable[[], Placement | None],
        submit: Submit,
        copies: int,
    ) -> None:
        """`placement`: the cluster as the control partition has it, while that is owned here; else None. `copies`: as the
        operator wants them."""
        self._log = log
        self._liveness = liveness
        self._secret = secret
        self._placement = placement
        self._submit = submit
        self._copies = copies
        self._own = Tick(uuid.uuid4().hex)
        self._ticks = 0
        self._refused = 0
        self._trimmed: dict[int, int] = {}

    async def run(self) -> None:
        """For ever."""
        ticking = asyncio.create_task(self._tick())
        try:
            while True:
                try:
                    async for batch in self._log.follow(AT, await self._log.latest(AT)):
                        for record in batch:
                            await self._take(record)
                except OffsetTrimmed:
                    continue
                except LogError as error:
                    log_.warning("heartbeats cannot be followed and will be again: %s", error)
                    await asyncio.sleep(AGAIN_S)
        finally:
            ticking.cancel()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            if self._placement() is None:
                continue
            try:
                await self._log.append(AT, [Entry(b"", heartbeats.encode(self._own, self._secret))], durable=True)
            except LogError as error:
                log_.warning("data nodes cannot be judged now: %s", error)

    async def _take(self, record: Record) -> None:
        placement = self._placement()
        try:
            said = heartbeats.decode(record.value, self._secret)
        except ValueError as error:
            self._liveness.noted(record.time_ms)
            self._refused += 1
            if self._refused == 1 or self._refused % 60 == 0:
                who = record.key.decode(errors="replace")
                log_.error("%d heartbeats were refused, the last of %s: %s", self._refused, who, error)
            return
        if isinstance(said, Heartbeat):
            if why := self._liveness.heard(record.time_ms, said, placement or Placement()):
                log_.error("data node %s at %s is refused: %s", said.node, said.endpoint, why)
        elif said == self._own and placement is not None:
            await self._judge(record.time_ms, placement)
        else:
            self._liveness.noted(record.time_ms)

    async def _judge(self, time_ms: int, placement: Placement) -> None:
        self._ticks += 1
        try:
            for body in self._liveness.judge(time_ms, placement):
                log_.info("data node %s: %s", getattr(body, "node", ""), type(body).__name__)
                await self._submit(body)
            if placement.copies != self._copies:
                await self._submit(commands.SetCopies(self._copies))
            if self._ticks % TRIM_EVERY == 0:
                await self._trim(placement)
        except LogError as error:
            log_.warning("what was judged cannot be said yet: %s", error)

    async def _trim(self, placement: Placement) -> None:
        for group, below in self._liveness.trimmable(placement).items():
            if self._trimmed.get(group, 0) < below:
                await self._log.trim(TopicPartition("writes", group), below)
                self._trimmed[group] = below
