"""Replies by the log, to gateways that are other processes."""

import asyncio
import logging

from topics import replies
from topics.log import Entry, Log, LogError
from topics.replies import Reply
from topics.spec import TopicPartition

log_ = logging.getLogger(__name__)


class LogReplies:
    """`processors.runtime.Replies`. A reply that cannot be sent is told by the gateway's deadline: outcome unknown."""

    outlives_owner = True

    def __init__(self, log: Log) -> None:
        self._log = log
        self._sending: set[asyncio.Task[None]] = set()

    def send(self, gateway: str, reply: Reply) -> None:
        if not gateway:
            return  # nobody waits for what a reactor asked for
        task = asyncio.create_task(self._send(gateway, reply))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, gateway: str, reply: Reply) -> None:
        try:
            at = TopicPartition("replies", replies.partition_of(gateway))
            await self._log.append(at, [Entry(gateway.encode(), replies.encode(reply))], durable=True)
        except (LogError, ValueError) as error:
            log_.error("the reply to request %s could not be sent: %s", reply.request_id, error)
