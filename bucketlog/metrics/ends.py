"""The ends of the log's partitions, looked at when somebody asks for metrics: what positions lag behind."""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from topics.log import Log, LogError
from topics.spec import TopicPartition

LOOK_S = 2.0  # a scrape must not wait for a broker that is gone


class Ends(Collector):
    def __init__(self, log: Log, partitions: Callable[[], Iterable[TopicPartition]]) -> None:
        self._log = log
        self._partitions = partitions
        self._ends: dict[TopicPartition, int] = {}
        self._is_reachable = False

    async def look(self) -> None:
        """What cannot be had in time is not known."""
        asked = list(self._partitions())
        self._ends, self._is_reachable = {}, False
        try:
            async with asyncio.timeout(LOOK_S):
                found = await asyncio.gather(*(self._log.latest(each) for each in asked))
        except (LogError, TimeoutError):
            return
        self._ends, self._is_reachable = dict(zip(asked, found, strict=True)), True

    def lag(self, at: TopicPartition, position: int) -> int | None:
        """How many records lie from a position on; None where the end is not known."""
        return None if at not in self._ends else max(0, self._ends[at] - position)

    def collect(self) -> Iterator[Metric]:
        name, what = "bucketlog_log_reachable", "Whether the log told the ends of its partitions."
        yield GaugeMetricFamily(name, what, value=self._is_reachable)
