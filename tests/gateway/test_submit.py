"""A command's way to its reply: which replies are heard, and what a request is told where there is none."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from gateway import submit
from gateway.errors import S3Error
from gateway.submit import WAITING_MAX, Commander
from tests import virtual
from tests.unread import Unread
from topics import commands, replies, spec
from topics.following import AGAIN_S
from topics.log import Entry, LogError
from topics.memory import MemoryLog
from topics.objects import Attributes, Extent
from topics.replies import Reply
from topics.spec import TopicPartition, bucket_partition

BODY = commands.DeleteBucket("b")
AT = TopicPartition("commands", bucket_partition("b"))


def with_commander(case: Callable[[Commander, MemoryLog], Awaitable[None]], *, durable: bool = False) -> None:
    async def run() -> None:
        log = MemoryLog("the log", lambda: 1)
        await log.create_topics(spec.ALL)
        await case(Commander(log, "here", lambda: 1000, durable=durable), log)

    asyncio.run(run())


async def ask(commander: Commander, request_id: str = "R") -> asyncio.Task[Reply]:
    """A request that waits for its reply."""
    task = asyncio.create_task(commander.submit(request_id, "someone", BODY))
    await asyncio.sleep(0)
    return task


def test_a_command_is_sent_once_with_its_deadline() -> None:
    async def case(commander: Commander, log: MemoryLog) -> None:
        waiting = await ask(commander)
        (record,) = await log.read(AT, 0)
        assert commands.decode(record.value) == commands.Command("R", "someone", "here", 1000 + submit.DEADLINE_MS, BODY)
        commander.send("here", Reply("R", etag="e"))
        assert await waiting == Reply("R", etag="e")

    with_commander(case)


def test_replies_to_others_late_and_second_ones_are_dropped() -> None:
    async def case(commander: Commander, _: MemoryLog) -> None:
        waiting = await ask(commander)
        commander.send("elsewhere", Reply("R", etag="another's"))
        commander.send("here", Reply("another", etag="another's"))
        commander.send("here", Reply("R", etag="first"))
        commander.send("here", Reply("R", etag="second"))
        assert (await waiting).etag == "first"
        commander.send("here", Reply("R", etag="late"))

    with_commander(case)


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply("R", "NoSuchBucket"), S3Error("NoSuchBucket").message),
        (Reply("R", "InvalidRequest", "Why it is."), "Why it is."),
        (Reply("R", "ServiceUnavailable", "/var/data is full"), S3Error("ServiceUnavailable").message),
    ],
)
def test_a_rejection_is_raised_and_tells_nothing_of_the_inside(reply: Reply, message: str) -> None:
    async def case(commander: Commander, _: MemoryLog) -> None:
        waiting = await ask(commander)
        commander.send("here", reply)
        with pytest.raises(S3Error) as raised:
            await waiting
        assert (raised.value.code, raised.value.message) == (reply.error, message)

    with_commander(case)


def test_no_reply_in_time_is_an_unknown_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "DEADLINE_MS", 0)

    async def case(commander: Commander, _: MemoryLog) -> None:
        with pytest.raises(S3Error, match="ServiceUnavailable"):
            await commander.submit("R", "someone", BODY)

    with_commander(case)


def test_a_log_that_fails_is_heard_of_and_nobody_waits_on() -> None:
    async def case(commander: Commander, log: MemoryLog) -> None:
        log.fail_next = 1
        with pytest.raises(LogError):
            await commander.submit("R", "someone", BODY)
        waiting = await ask(commander, "R")
        await asyncio.sleep(0)
        commander.send("here", Reply("R"))
        await waiting

    with_commander(case, durable=True)


def test_a_backlog_over_its_bound_is_slow_down() -> None:
    async def case(commander: Commander, log: MemoryLog) -> None:
        log.hold.clear()
        crowd = [asyncio.create_task(commander.submit(f"R{n}", "someone", BODY)) for n in range(WAITING_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(S3Error, match="SlowDown"):
            await commander.submit("R", "someone", BODY)
        crowd[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await crowd[0]
        crowd[0] = await ask(commander)  # whoever left made room
        for each in crowd:
            each.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)

    with_commander(case, durable=True)


PUT = commands.PutObject("b", "key", 5, "e", [Extent("ab" * 16, 7, 5, 1, 0)], None, Attributes())


@pytest.mark.parametrize(
    ("error", "is_given_back"),
    [("PreconditionFailed", True), ("NoSuchBucket", True), ("ServiceUnavailable", False), ("InternalError", False)],
)
def test_the_partition_is_asked_to_give_back_the_payload_of_a_rejected_command(error: str, is_given_back: bool) -> None:
    async def case(commander: Commander, log: MemoryLog) -> None:
        task = asyncio.create_task(commander.submit_payload("R", "someone", PUT))
        await asyncio.sleep(0)
        commander.send("here", Reply("R", error))
        with pytest.raises(S3Error, match=error):
            await task
        later = [commands.decode(each.value) for each in await log.read(AT, 1)]
        release = commands.ReleaseOrphans(AT.partition, [(7, "ab" * 16)])
        assert [(each.reply_to, each.body) for each in later] == ([("", release)] if is_given_back else [])
        assert await log.latest(TopicPartition("writes", 7)) == 0

    with_commander(case)


REPLIES = TopicPartition("replies", 0)


@pytest.mark.parametrize("is_trimmed", [False, True])
def test_replies_are_heard_again_after_what_could_not_be_read(is_trimmed: bool) -> None:
    async def case() -> None:
        log = Unread("the log", virtual.now_ms)
        await log.create_topics(spec.CLUSTER)
        commander = Commander(log, "here", virtual.now_ms, durable=True)
        listening = asyncio.create_task(submit.listen(log, REPLIES, 0, commander, "here"))
        waiting = [asyncio.create_task(commander.submit(name, "someone", BODY)) for name in ("R", "S")]
        await asyncio.sleep(0.1)
        log.fails = True
        for value in (replies.encode(Reply("R", etag="1")), b"?", replies.encode(Reply("S", etag="2"))):
            await log.append(REPLIES, [Entry(b"here", value)], durable=True)
            await asyncio.sleep(AGAIN_S)
        if is_trimmed:
            await log.trim(REPLIES, 2)
        log.fails = False
        assert (await asyncio.wait_for(waiting[1], 2 * AGAIN_S)).etag == "2"
        assert waiting[0].done() is not is_trimmed
        for each in (listening, *waiting):
            each.cancel()
        await asyncio.gather(listening, *waiting, return_exceptions=True)

    virtual.run(case())
