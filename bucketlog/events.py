"""The events as they come, over HTTP: GET /-/events, newline-delimited JSON.

Query: `bucket` (else all), `from` = beginning, now, or positions, by commas (`bucketlog.stream`): a line's "position" as it
is goes on right behind that line. Only records that count by the reader's rule are sent, without their private part. A
stream that cannot go on ends with a line that has an "error".
"""

import asyncio
import logging
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse

from bucketlog.admin import Answer
from bucketlog.stream import Start, WrongPosition, check, follow, parse, position
from gateway.errors import S3Error, as_s3_error
from gateway.request import Request
from topics.log import Log
from topics.spec import EVENTS, TopicPartition, bucket_partition

PATH = "/-/events"
QUEUE_MAX = 1_000  # lines that wait for a slow subscriber, before its partitions wait too
FAILED = b'{"error":'  # how a last line begins that tells why there are no more
POSITIONS = "partition:offset:epoch:sequence[,…]"
log_ = logging.getLogger(__name__)


def answer_events(log: Log) -> Answer:
    async def answer(_: HttpRequest, request: Request) -> Response:
        try:
            starts = await _starts(log, request)
        except WrongPosition as error:
            raise _failure(error) from error
        return StreamingResponse(_merge(log, starts, request.query.get("bucket", "")), media_type="application/x-ndjson")

    return answer


async def _starts(log: Log, request: Request) -> dict[int, Start]:
    """By partition. Raises InvalidArgument."""
    bucket, wanted = request.query.get("bucket", ""), request.query.get("from", "beginning")
    partitions = [bucket_partition(bucket)] if bucket else list(range(EVENTS.partitions))
    if wanted == "now":
        return {each: Start(await log.latest(TopicPartition("events", each))) for each in partitions}
    starts = dict.fromkeys(partitions, Start(0))
    if wanted != "beginning":
        try:
            named = dict(map(parse, wanted.split(",")))
        except ValueError:
            raise S3Error("InvalidArgument", f"from must be beginning, now, or {POSITIONS}") from None
        starts.update({each: start for each, start in named.items() if each in starts})
    for each, start in starts.items():
        await check(log, TopicPartition("events", each), start)
    return starts


async def _merge(log: Log, starts: dict[int, Start], bucket: str) -> AsyncIterator[bytes]:
    """Lines; the last one tells of an error: a stream without one of its partitions would not be complete."""
    queue: asyncio.Queue[bytes | Exception] = asyncio.Queue(QUEUE_MAX)
    tasks = [asyncio.create_task(_follow(log, each, start, bucket, queue)) for each, start in starts.items()]
    try:
        while not isinstance(told := await queue.get(), Exception):
            yield told
        yield _told(_failure(told))
    finally:
        for task in tasks:
            task.cancel()


async def _follow(log: Log, partition: int, start: Start, bucket: str, queue: asyncio.Queue[bytes | Exception]) -> None:
    try:
        async for record, decision in follow(log, TopicPartition("events", partition), start):
            if not bucket or getattr(decision.event, "bucket", "") == bucket:
                await queue.put(_line(position(partition, record.offset, decision), record.value))
    except Exception as error:  # noqa: BLE001 - becomes the stream's last line
        log_.error("the events of partition %d cannot be told any more: %s", partition, error)
        await queue.put(error)


def _line(at: str, value: bytes) -> bytes:
    decision = msgspec.json.decode(value)
    decision["event"].pop("private", None)
    return msgspec.json.encode({"position": at, **decision}) + b"\n"


def _failure(error: Exception) -> S3Error:
    return S3Error("InvalidArgument", str(error)) if isinstance(error, WrongPosition) else as_s3_error(error)


def _told(failure: S3Error) -> bytes:
    return msgspec.json.encode({"error": failure.code, "message": failure.message}) + b"\n"
