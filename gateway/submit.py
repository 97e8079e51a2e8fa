"""Commands to the log, replies back to the requests that wait for them. A command is never sent twice.

A timeout is ServiceUnavailable with an unknown outcome. More than `WAITING_MAX` requests in wait is SlowDown.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gateway.errors import S3Error
from topics import commands, replies
from topics.following import Start, followed
from topics.log import Entry, Log, LogError, OffsetTrimmed, Record, UnknownRecord, decoded
from topics.replies import Reply
from topics.sender import CommandSender
from topics.spec import TopicPartition

DEADLINE_MS = 30_000  # as long as SDKs wait for an answer at most, half of it
WAITING_MAX = 4096
log_ = logging.getLogger(__name__)
OUTCOME_UNKNOWN = ("ServiceUnavailable", "InternalError")


class Commander:
    outlives_owner = False  # where it takes replies itself, it is in one process with the owner

    def __init__(self, log: Log, gateway: str, clock_ms: Callable[[], int], *, durable: bool) -> None:
        """`durable=False` where the event's append syncs the command too: the embedded log."""
        self._log = log
        self._gateway = gateway
        self._clock_ms = clock_ms
        self._durable = durable
        self._waiting: dict[str, asyncio.Future[Reply | None]] = {}
        self._tell = CommandSender(log, clock_ms)

    @property
    def waiting(self) -> int:
        """How many requests wait for a reply."""
        return len(self._waiting)

    def send(self, gateway: str, reply: Reply) -> None:
        """`processors.runtime.Replies`: the outcome of a command; unknown and late ones are dropped."""
        waiter = self._waiting.get(reply.request_id)
        if gateway == self._gateway and waiter is not None and not waiter.done():
            waiter.set_result(reply)

    async def submit(self, request_id: str, principal: str, body: commands.Body) -> Reply:
        """The reply to a command that was carried out. Raises `S3Error` for a rejection or a timeout, or `LogError`."""
        if len(self._waiting) >= WAITING_MAX:
            raise S3Error("SlowDown")
        now_ms = self._clock_ms()
        command = commands.Command(request_id, principal, self._gateway, now_ms + DEADLINE_MS, body)
        entry = Entry(getattr(body, "bucket", "").encode(), commands.encode(command))
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Reply | None] = loop.create_future()
        self._waiting[request_id] = waiter
        expiry = loop.call_later(DEADLINE_MS / 1000, _expire, waiter)
        try:
            await self._log.append(TopicPartition("commands", commands.partition_of(body)), [entry], durable=self._durable)
            reply = await waiter
        finally:
            expiry.cancel()
            del self._waiting[request_id]
        if reply is None:
            raise S3Error("ServiceUnavailable")
        if reply.error:
            raise S3Error(reply.error, reply.message if reply.error != "ServiceUnavailable" else "", **reply.details)
        return reply

    async def submit_payload(self, request_id: str, principal: str, body: commands.PutObject | commands.PutPart) -> Reply:
        """`submit` of a command that names blobs. Where it was rejected, its partition is asked to give them back.

        Only the partition may do that: what it decides comes after whatever it decided of the command. If even that
        cannot be asked, the sweep for orphans finds them.
        """
        try:
            return await self.submit(request_id, principal, body)
        except S3Error as error:
            if body.extents and error.code not in OUTCOME_UNKNOWN:
                blobs = [(extent.group, extent.blob) for extent in body.extents]
                with contextlib.suppress(LogError):
                    await self._tell(commands.ReleaseOrphans(commands.partition_of(body), blobs))
            raise


async def listen(log: Log, at: TopicPartition, start: int, commander: Commander, address: str) -> None:
    """Replies to the requests that wait for them, for ever. Raises `LogError` as `followed` does.

    A reply that no codec knows, or that is gone before it was read, lets its request run into its deadline.
    """
    begin: int | Start = start
    while True:
        try:
            async for batch in followed(log, at, begin):
                for record in batch:
                    if record.key == address.encode():
                        _take(at, record, commander, address)
        except OffsetTrimmed as error:
            log_.error("replies are lost: %s", error)
            begin = log.earliest


def _take(at: TopicPartition, record: Record, commander: Commander, address: str) -> None:
    try:
        commander.send(address, decoded(at, record, replies.decode))
    except UnknownRecord as error:
        log_.error("a reply is lost: %s", error)


def _expire(waiter: asyncio.Future[Reply | None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
