"""The first and the next offset of a partition, as its leader has them now."""

import asyncio
import contextlib
import time

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from topics.kafka.config import REQUEST_S
from topics.kafka.message import PASSING, failure

ATTEMPT_S = 1.0  # librdkafka does not give up on a broker that died before this
AGAIN_S = 0.05
EARLIEST, LATEST = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]


async def watermarks(admin: AdminClient, topic: str, partition: int) -> tuple[int, int]:
    """(earliest, latest). Asks again and again, as the leader may be about to change. Raises `LogError`."""
    deadline = time.monotonic() + REQUEST_S
    while True:
        asked = [_ask(admin, topic, partition, spec) for spec in (EARLIEST, LATEST)]
        earliest, latest = await asyncio.gather(*asked, return_exceptions=True)
        if isinstance(earliest, int) and isinstance(latest, int):
            return earliest, latest
        failed = earliest if isinstance(earliest, BaseException) else latest
        if not isinstance(failed, KafkaException):
            assert isinstance(failed, BaseException)
            raise failed
        if failed.args[0].code() not in PASSING or time.monotonic() > deadline:
            raise failure(f"offsets of {topic}:{partition} cannot be had", failed.args[0]) from failed
        await asyncio.sleep(AGAIN_S)
        with contextlib.suppress(KafkaException):  # librdkafka was seen to ask a former leader for 15 s else
            await asyncio.to_thread(admin.list_topics, topic, ATTEMPT_S)


async def _ask(admin: AdminClient, topic: str, partition: int, spec: OffsetSpec) -> int:
    (future,) = admin.list_offsets({KafkaPartition(topic, partition): spec}, request_timeout=ATTEMPT_S).values()
    found = await asyncio.wrap_future(future)
    offset: int = found.offset
    if offset < 0:  # librdkafka's answer where a broker that is still connected kept silent
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
    return offset
