"""The judge on a log in memory, in virtual time: what it hears, asks for, trims, and passes over."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest

from processors.judge import AT, Judge
from processors.liveness import Liveness
from tests.processors.data_nodes import beat, cluster, node
from tests.simulation.judging import drive
from tests.virtual import now_ms, run
from topics import commands, heartbeats, spec
from topics.commands import Mark, MarkNode
from topics.heartbeats import Heartbeat
from topics.log import Entry, LogError, Record
from topics.memory import MemoryLog
from topics.placement import OUT_SHARE, Brakes, Group, State
from topics.secret import ClusterSecret
from topics.spec import TopicPartition

SECRET = ClusterSecret(b"a secret of a test cluster")
WRITES = TopicPartition("writes", 0)


class LateLog(MemoryLog):
    is_late = False  # who follows it hears nothing meanwhile

    async def follow(self, at: TopicPartition, offset: int) -> AsyncIterator[list[Record]]:
        async for batch in super().follow(at, offset):
            while self.is_late:  # noqa: ASYNC110 - of a test
                await asyncio.sleep(0.1)
            yield batch


class Bench:
    """Knobs: `placement`, `is_assigned` (whether this one is to judge), `fails` (the next command cannot be said)."""

    def __init__(self) -> None:
        self.log = LateLog("cluster", now_ms)
        self.is_assigned = True
        self.placement = cluster(node("a"), node("b"))
        self.fails = 0
        self.asked: list[commands.Body] = []
        self.liveness = Liveness("cluster")
        self.judge = Judge(self.log, self.liveness, SECRET, lambda: self.placement, self._submit, 3)

    async def say(self, said: Heartbeat, secret: ClusterSecret = SECRET) -> None:
        await self.log.append(AT, [Entry(said.node.encode(), heartbeats.encode(said, secret))], durable=True)

    async def beats(self, seconds: int, names: str, **fields: object) -> None:
        for _ in range(seconds):
            for name in names:
                await self.say(msgspec.structs.replace(beat(name, now_ms()), **fields))
            await asyncio.sleep(1)

    async def ticks(self) -> int:
        records = await self.log.read(AT, 0)
        return sum(isinstance(heartbeats.decode(each.value, SECRET), heartbeats.Tick) for each in records)

    async def _submit(self, body: commands.Body) -> None:
        if self.fails:
            self.fails -= 1
            raise LogError("by the test's wish")
        self.asked.append(body)


def bench(case: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        made = Bench()
        await made.log.create_topics(spec.CLUSTER)
        running = asyncio.create_task(drive(made.log, made.judge, lambda: made.is_assigned))
        await asyncio.sleep(0.1)
        await case(made)
        assert not running.done()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    run(whole())


def test_a_silent_node_is_down_after_the_grace() -> None:
    async def case(made: Bench) -> None:
        await made.beats(5, "ab")
        await made.beats(14, "a")
        assert made.asked == []
        await made.beats(3, "a")
        assert set(made.asked) == {MarkNode("b", "1", Mark.DOWN)}  # asked for until it shows

    bench(case)


def test_who_is_not_to_judge_hears_and_asks_for_nothing() -> None:
    async def case(made: Bench) -> None:
        made.is_assigned = False
        await made.beats(20, "a")
        assert (made.asked, await made.ticks()) == ([], 0)
        made.is_assigned = True  # it has heard all the while: b was silent for long
        await made.beats(2, "a")
        assert set(made.asked) == {MarkNode("b", "1", Mark.DOWN)}

    bench(case)


def test_a_node_that_is_removed_while_its_last_words_are_unread_stays_away() -> None:
    async def case(made: Bench) -> None:
        made.placement = cluster(node("a"), node("b", state=State.DOWN))
        await made.beats(5, "a")
        made.log.is_late = True
        await made.beats(1, "ab")
        await asyncio.sleep(1)  # a tick goes on its way, too
        made.placement = cluster(node("a"))
        await asyncio.sleep(1)
        made.log.is_late = False
        await made.beats(20, "a")
        assert made.asked == []
        await made.beats(2, "ab")
        assert made.asked
        assert set(made.asked) == {commands.RegisterNode("b", "folder-b", "1", "http://b", "b", 100)}

    bench(case)


def test_ticks_of_another_judge_are_no_reason_to_judge() -> None:
    async def case(made: Bench) -> None:
        made.is_assigned = False
        tick = heartbeats.encode(heartbeats.Tick("another"), SECRET)
        await made.beats(20, "a")
        made.is_assigned = True
        await made.log.append(AT, [Entry(b"", tick)], durable=True)
        await asyncio.sleep(0.1)
        assert made.asked == []

    bench(case)


def test_copies_are_set_as_the_operator_wants_them() -> None:
    async def case(made: Bench) -> None:
        made.placement = msgspec.structs.replace(cluster(), copies=2)
        await made.beats(2, "")
        assert set(made.asked) == {commands.SetCopies(3)}

    bench(case)


def test_the_share_that_may_be_out_is_set_as_the_operator_wants_it() -> None:
    async def case(made: Bench) -> None:
        made.placement = msgspec.structs.replace(cluster(), held=Brakes(out_share=0.5))
        await made.beats(2, "")
        assert set(made.asked) == {commands.SetOutShare(OUT_SHARE)}

    bench(case)


def test_a_wrong_clock_is_told_once_and_once_that_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Bench) -> None:
        await made.beats(5, "a", clock_ms=0)
        await made.beats(5, "a")

    bench(case)
    told = [each.message for each in caplog.records if "clock" in each.message]
    assert len(told) == 2
    assert "off the log's" in told[0]
    assert told[1] == "data node a (clock): this is over"


@pytest.mark.parametrize(
    "entry",
    [
        Entry(b"c", heartbeats.encode(beat("c", 0), ClusterSecret(b"the secret of another"))),
        Entry(b"c", b"no heartbeat"),
        Entry(b"\xff", b""),
    ],
    ids=["of another secret", "of no codec", "of a key that is no text"],
)
def test_what_is_no_heartbeat_of_this_cluster_is_told_and_passed_over(
    entry: Entry, caplog: pytest.LogCaptureFixture
) -> None:
    async def case(made: Bench) -> None:
        await made.log.append(AT, [entry], durable=True)
        await made.beats(20, "ab")
        assert made.asked == []
        assert made.liveness.behind().keys() == {"a", "b"}

    bench(case)
    assert "1 heartbeats were refused" in caplog.text


def test_a_node_that_is_refused_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Bench) -> None:
        await made.beats(3, "c", cluster="another")

    bench(case)
    (told,) = [each.message for each in caplog.records if each.levelname == "ERROR"]
    assert told.startswith("data node c at http://c is refused: its data folder belongs to another cluster")


def test_what_could_not_be_said_is_said_with_the_next_tick(caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Bench) -> None:
        made.fails = 1
        await made.beats(3, "abc")
        assert {type(each) for each in made.asked} == {commands.RegisterNode}

    bench(case)
    assert "cannot be said yet" in caplog.text


def test_writes_are_trimmed_below_what_all_members_have() -> None:
    async def case(made: Bench) -> None:
        groups = [Group(["a"], ["a", "b"])]
        made.placement = cluster(node("a"), node("b"), groups=groups)
        await made.log.append(WRITES, [Entry(b"", b"x")] * 9, durable=True)
        await made.beats(7, "a", positions={0: 7})
        assert await made.log.earliest(WRITES) == 0  # b was never heard
        await made.beats(6, "b", positions={0: 5})
        assert await made.log.earliest(WRITES) == 5

    bench(case)
