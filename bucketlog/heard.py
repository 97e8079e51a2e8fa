"""What data nodes say of themselves, as a gateway of a cluster hears it in the topic `heartbeats`.

Errors: where the topic may not be read, nothing is heard; that is told, and tried again.
"""

import asyncio
import logging

from bucketlog.status import Heard
from topics import heartbeats
from topics.heartbeats import Heartbeat
from topics.log import Log, LogError, OffsetTrimmed, Record
from topics.secret import ClusterSecret
from topics.spec import TopicPartition

AT = TopicPartition("heartbeats", 0)
AGAIN_S = 5.0
log_ = logging.getLogger(__name__)


class Heartbeats:
    def __init__(self, secret: ClusterSecret) -> None:
        self._secret = secret
        self._latest: dict[str, tuple[float, int, Heartbeat]] = {}  # node → heard here, the log's time, what it said

    def heard(self) -> dict[str, Heard]:
        now_s = asyncio.get_running_loop().time()
        return {name: _heard(beat, now_s - at_s, time_ms) for name, (at_s, time_ms, beat) in self._latest.items()}

    async def run(self, log: Log) -> None:
        """For ever."""
        while True:
            try:
                async for batch in log.follow(AT, await log.latest(AT)):
                    for record in batch:
                        self._take(record)
            except OffsetTrimmed:
                continue
            except LogError as error:
                log_.warning("heartbeats cannot be followed, so `bucketlog status` shows less: %s", error)
                await asyncio.sleep(AGAIN_S)

    def _take(self, record: Record) -> None:
        try:
            said = heartbeats.decode(record.value, self._secret)
        except ValueError:
            return  # who judges the nodes tells it
        if isinstance(said, Heartbeat):
            self._latest[said.node] = asyncio.get_running_loop().time(), record.time_ms, said


def _heard(beat: Heartbeat, ago_s: float, time_ms: int) -> Heard:
    return Heard(beat.used_bytes, beat.behind, ago_s, "", (beat.clock_ms - time_ms) / 1000, beat.disk_failure)
