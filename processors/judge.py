"""What is done with each record of the topic `heartbeats`: judgement, and the trim of what all nodes have.

It waits for nothing itself: who drives it (`processors.faust_app`, simulations) hands it the records in their order, and
calls `tick` each second. What is asked for twice changes nothing, so that no harm is done where two judge.
Errors: a heartbeat that cannot be read is told and passed over: its node is judged by what it says next.
"""

import logging
import uuid
from collections.abc import Awaitable, Callable

from processors.liveness import Liveness
from topics import commands, heartbeats
from topics.heartbeats import Heartbeat, Tick
from topics.log import Entry, Log, LogError, Record
from topics.placement import OUT_SHARE, Placement
from topics.secret import ClusterSecret
from topics.spec import TopicPartition

AT = TopicPartition("heartbeats", 0)
TRIM_EVERY = 5  # ticks
Submit = Callable[[commands.Body], Awaitable[None]]
log_ = logging.getLogger(__name__)


class Judge:
    def __init__(
        self,
        log: Log,
        liveness: Liveness,
        secret: ClusterSecret,
        placement: Callable[[], Placement],
        submit: Submit,
        copies: int,
        out_share: float = OUT_SHARE,
    ) -> None:
        """`placement`: the cluster as the control partition has it. `copies`, `out_share`: as the operator wants them."""
        self._log = log
        self._liveness = liveness
        self._secret = secret
        self._placement = placement
        self._submit = submit
        self._copies = copies
        self._out_share = out_share
        self._warnings: dict[tuple[str, str], str] = {}
        self._name = uuid.uuid4().hex
        self._sent: dict[str, Placement] = {}  # own ticks on their way → the map when each was sent
        self._ticks = self._judged = 0
        self.unread_ticks = 0  # own ones that the log has, in a row
        self._refused = 0
        self._trimmed: dict[int, int] = {}

    def behind(self) -> dict[str, dict[int, int]]:
        """Node → group → blobs that it is to have and does not, as it said last."""
        return self._liveness.behind()

    def clocks_off_s(self) -> dict[str, float]:
        """Node → by how many seconds its clock is ahead of the log's, or behind."""
        return self._liveness.clocks_off_s()

    async def tick(self) -> None:
        """To be called each `EVERY_S`."""
        tick = Tick(f"{self._name}/{self._ticks}")
        self._ticks += 1
        self._sent[tick.judge] = self._placement()
        try:
            await self._log.append(AT, [Entry(b"", heartbeats.encode(tick, self._secret))], durable=True)
            self.unread_ticks += 1
        except LogError as error:
            self._sent.pop(tick.judge, None)
            log_.warning("data nodes cannot be judged now: %s", error)

    async def take(self, record: Record) -> None:
        """To be called with each record of the topic, in their order."""
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
            if why := self._liveness.heard(record.time_ms, said, self._placement()):
                log_.error("data node %s at %s is refused: %s", said.node, said.endpoint, why)
        elif isinstance(said, Tick) and said.judge in self._sent:
            self.unread_ticks = 0
            self._liveness.since(self._taken(said.judge))
            await self._judge(record.time_ms, self._placement())
        else:
            self._liveness.noted(record.time_ms)

    def _taken(self, tick: str) -> Placement:
        """The map when it was sent; those that were sent before it are not waited for any more."""
        while True:
            first = next(iter(self._sent))
            then = self._sent.pop(first)
            if first == tick:
                return then

    async def _judge(self, time_ms: int, placement: Placement) -> None:
        self._judged += 1
        self._warn(placement)
        try:
            for body in self._liveness.judge(time_ms, placement):
                log_.info("data node %s: %s", getattr(body, "node", ""), type(body).__name__)
                await self._submit(body)
            if placement.copies != self._copies:
                await self._submit(commands.SetCopies(self._copies))
            if placement.brakes.out_share != self._out_share:
                await self._submit(commands.SetOutShare(self._out_share))
            if self._judged % TRIM_EVERY == 0:
                await self._trim(placement)
        except LogError as error:
            log_.warning("what was judged cannot be said yet: %s", error)

    def _warn(self, placement: Placement) -> None:
        """What is wrong once, and once that it is over."""
        before, self._warnings = self._warnings, self._liveness.warnings(placement)
        for node, kind in self._warnings.keys() - before.keys():
            log_.error("data node %s: %s", node, self._warnings[node, kind])
        for node, kind in before.keys() - self._warnings.keys():
            log_.warning("data node %s (%s): this is over", node, kind)

    async def _trim(self, placement: Placement) -> None:
        for group, below in self._liveness.trimmable(placement).items():
            if self._trimmed.get(group, 0) < below:
                await self._log.trim(TopicPartition("writes", group), below)
                self._trimmed[group] = below
