"""What an owner does beside deciding: garbage is given back when it is old enough, decided commands are trimmed."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from gateway.open_reads import OpenReads
from processors.housekeeping import keep_house
from processors.runtime import PartitionRuntime
from tests.processors.bench import COMMANDS, Bench, bucket
from tests.processors.machine import blob_id
from tests.processors.rows import extents
from tests.virtual import now_ms, run
from topics import commands, spec, writes
from topics.objects import Attributes
from topics.spec import TopicPartition

WRITES = TopicPartition("writes", 0)


def house(case: Callable[[Bench], Awaitable[None]], release_after_s: float = 60) -> None:
    async def whole() -> None:
        made = Bench()
        await made.log.create_topics(spec.ALL)
        runtime = made.runtime()
        await runtime.claim()
        readers = OpenReads(clock_s=asyncio.get_running_loop().time)
        runtimes: dict[int, PartitionRuntime] = {0: runtime}
        tasks = [
            asyncio.create_task(runtime.run()),
            asyncio.create_task(keep_house(made.log, lambda: runtimes, readers, now_ms, release_after_s)),
        ]
        await case(made)
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)

    run(whole())


async def put(made: Bench, request: str, blob: str) -> None:
    await made.ask(request, commands.PutObject("b", "k", 5, "e", extents(blob), None, Attributes()))
    await made.sent.told(request)


async def released(made: Bench) -> list[bytes]:
    records = await made.log.read(WRITES, 0)
    assert all(record.value == writes.RELEASE for record in records)
    return [record.key for record in records]


def test_what_was_replaced_is_given_back_only_when_no_reader_can_be_at_it_any_more() -> None:
    async def case(made: Bench) -> None:
        await made.ask("R0", bucket("b"))
        await put(made, "R1", "a")
        await put(made, "R2", "b")
        await asyncio.sleep(58)
        assert await released(made) == []
        await asyncio.sleep(5)
        assert await released(made) == [bytes.fromhex(blob_id("a"))]
        await asyncio.sleep(100)
        assert await released(made) == [bytes.fromhex(blob_id("a"))]  # once: the note was cleared

    house(case)


def test_decided_commands_are_trimmed() -> None:
    async def case(made: Bench) -> None:
        await made.ask("R0", bucket("b"))
        await made.sent.told("R0")
        await asyncio.sleep(2)
        assert await made.log.earliest(COMMANDS) == 1

    house(case)


def test_a_log_that_cannot_be_written_delays_it(caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Bench) -> None:
        await made.ask("R0", bucket("b"))
        await put(made, "R1", "a")
        await put(made, "R2", "b")
        made.log.fail_next = 2
        await asyncio.sleep(1)
        assert await released(made) == []
        await asyncio.sleep(5)
        assert await released(made) == [bytes.fromhex(blob_id("a"))]

    house(case, release_after_s=0)
    assert "housekeeping of partition 0 failed and will be tried again" in caplog.text
