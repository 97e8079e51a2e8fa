"""The events as they come, over HTTP: GET /-/events, newline-delimited JSON.

Query: `bucket` (else all), `from` = beginning, now, or partition:offset[,…] (what a line's "position" says, plus one).
Only records that count by the reader's rule are sent, without their private part.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse

from bucketlog.admin import Answer
from gateway.errors import S3Error
from gateway.request import Request
from topics import events
from topics.log import Log
from topics.reader import ReaderState
from topics.spec import EVENTS, TopicPartition, bucket_partition

PATH = "/-/events"
QUEUE_MAX = 1_000  # lines that wait for a slow subscriber, before its partitions wait too


def answer_events(log: Log) -> Answer:
    async def answer(_: HttpRequest, request: Request) -> Response:
        starts = await _starts(log, request)
        return StreamingResponse(_merge(log, starts, request.query.get("bucket", "")), media_type="application/x-ndjson")

    return answer


async def _starts(log: Log, request: Request) -> dict[int, int]:
    """Partition → offset to start from. Raises InvalidArgument."""
    bucket, start = request.query.get("bucket", ""), request.query.get("from", "beginning")
    partitions = [bucket_partition(bucket)] if bucket else list(range(EVENTS.partitions))
    if start == "now":
        return {each: await log.latest(TopicPartition("events", each)) for each in partitions}
    starts = dict.fromkeys(partitions, 0)
    if start != "beginning":
        try:
            pairs = [each.split(":", 1) for each in start.split(",")]
            named = {int(partition): int(offset) for partition, offset in pairs}
        except ValueError:
            raise S3Error("InvalidArgument", "from must be beginning, now, or partition:offset[,…]") from None
        starts.update({each: offset for each, offset in named.items() if each in starts})
    return starts


async def _merge(log: Log, starts: dict[int, int], bucket: str) -> AsyncIterator[bytes]:
    queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_MAX)
    tasks = [asyncio.create_task(_follow(log, each, start, bucket, queue)) for each, start in starts.items()]
    try:
        while True:
            yield await queue.get()
    finally:
        for task in tasks:
            task.cancel()


async def _follow(log: Log, partition: int, start: int, bucket: str, queue: asyncio.Queue[bytes]) -> None:
    at, state = TopicPartition("events", partition), ReaderState()
    # the rule needs the claims before the start, so the partition is read from its beginning
    async for batch in log.follow(at, await log.earliest(at)):
        for record in batch:
            decision = events.decode(record.value)
            accepted = state.accept(decision)
            if accepted is None:
                continue
            state = accepted
            if record.offset >= start and (not bucket or getattr(decision.event, "bucket", "") == bucket):
                await queue.put(line(partition, record.offset, record.value))


def line(partition: int, offset: int, value: bytes) -> bytes:
    decision = msgspec.json.decode(value)
    decision["event"].pop("private", None)
    return msgspec.json.encode({"position": f"{partition}:{offset}", **decision}) + b"\n"
