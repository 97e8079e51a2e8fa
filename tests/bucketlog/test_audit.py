"""The audit: what it asks of whom, what comes of what is missing, and how far it is after a restart."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

import pytest
from awscrt.checksums import crc32c

from bucketlog.audit import FILE, ROWS, Auditor, Owned
from processors.machine import tables
from processors.memory import MemoryView
from tests.datanode.bench import OTHERS, Bench, bench, ref
from tests.datanode.stores import blob
from tests.simulation.disk import SimulatedDisk
from tests.virtual import now_ms
from topics import writes
from topics.objects import Attributes, Extent
from topics.placement import Group
from topics.spec import TopicPartition

AT = TopicPartition("writes", 0)
PARTITION, EVERY_S = 5, 1_000.0
DATA = b"data"


class Audited:
    """Knob: `is_held`, whether the partition's view is the latest."""

    def __init__(self, made: Bench) -> None:
        self.made = made
        self.view = MemoryView()
        self.disk = SimulatedDisk(random.Random(0))
        self.is_held = True
        self.audit = self.started()
        made.place(groups=[Group(list(OTHERS), list(OTHERS))])

    def started(self) -> Auditor:
        owned = Owned(lambda: {PARTITION: self.view}, lambda _: self.is_held)
        made = self.made
        return Auditor(made.log, owned, lambda: made.map.current, made.peers, self.disk, now_ms, 1.0, EVERY_S)

    def put(self, number: int, names: str = "pqr") -> None:
        extent = Extent(blob(number).hex(), 0, len(DATA), crc32c(DATA), -1)
        row = tables.Object(len(DATA), "etag", 0, "null", Attributes(), [extent])
        self.view.commit({tables.object_key("1" * 32, f"{number:06}"): tables._encode(row)})
        for name in names:
            self.made.peers[name].has(ref(number), DATA)

    def delete(self, number: int) -> None:
        self.view.commit({tables.object_key("1" * 32, f"{number:06}"): None})

    async def passes(self, seconds: float) -> None:
        running = asyncio.create_task(self.audit.run())
        await asyncio.sleep(seconds)
        assert not running.done()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    async def claims(self) -> list[tuple[bytes, writes.Write]]:
        return [(record.key, writes.decode(record.value)) for record in await self.made.log.read(AT, 0)]


def audited(case: Callable[[Audited], Awaitable[None]]) -> None:
    async def whole(made: Bench) -> None:
        await case(Audited(made))

    bench(whole)


def test_what_is_with_all_holders_is_asked_for_once_in_a_pass() -> None:
    async def case(made: Audited) -> None:
        for number in range(2 * ROWS + 1):
            made.put(number)
        await made.passes(EVERY_S - 10)
        assert (made.audit.verified, made.audit.missing, await made.claims()) == (2 * ROWS + 1, 0, [])
        for name in OTHERS:
            assert made.made.peers[name].given == [blob(number) for number in range(2 * ROWS + 1)]

    audited(case)


def test_what_a_holder_lacks_is_claimed_again_with_those_who_have_it() -> None:
    async def case(made: Audited) -> None:
        made.put(1)
        made.put(2, "pr")
        await made.passes(10)
        assert (made.audit.verified, made.audit.missing) == (1, 1)
        assert await made.claims() == [(blob(2), writes.Claim(PARTITION, len(DATA), crc32c(DATA), ["p", "r"]))]

    audited(case)


@pytest.mark.parametrize("trouble", ["released meanwhile", "displaced"])
def test_what_may_have_been_given_back_is_not_claimed(trouble: str) -> None:
    async def case(made: Audited) -> None:
        made.put(1, "pr")
        made.made.peers["q"].slow_s = 1
        made.is_held = trouble != "displaced"
        running = asyncio.create_task(made.passes(10))
        await asyncio.sleep(1.5)
        if trouble == "released meanwhile":
            made.delete(1)
        await running
        assert (made.audit.missing, await made.claims(), made.audit.lost) == (0, [], set())

    audited(case)


def test_what_no_holder_has_is_lost_only_where_all_were_asked(caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Audited) -> None:
        made.put(1, "")
        made.made.peers["q"].is_dead = True
        await made.passes(10)
        assert made.audit.lost == set()
        made.made.peers["q"].is_dead = False
        await made.passes(EVERY_S)
        assert made.audit.lost == {blob(1).hex()}
        made.put(1)
        await made.passes(EVERY_S)
        assert made.audit.lost == set()

    audited(case)
    assert caplog.text.count("no holder has it whole") == 1


def test_after_a_restart_it_goes_on_where_it_was() -> None:
    async def case(made: Audited) -> None:
        for number in range(3 * ROWS):
            made.put(number)
        await made.passes(1.5)
        assert made.audit.verified == ROWS
        made.audit = made.started()
        await made.passes(10)
        assert made.audit.verified == 2 * ROWS
        made.disk.store(FILE, b"no place")
        made.audit = made.started()
        await made.passes(10)
        assert made.audit.verified == 3 * ROWS

    audited(case)


def test_what_the_last_pass_found_is_told_when_it_has_ended_and_behind_a_restart() -> None:
    async def case(made: Audited) -> None:
        for number in range(ROWS + 1):
            made.put(number, "pr" if number == 7 else "pqr")
        await made.passes(1.5)
        assert made.audit.last_pass() is None
        began_ms = now_ms()
        made.audit = made.started()
        await made.passes(5)
        last = made.audit.last_pass()
        assert last is not None
        assert (last.blobs, last.missing, began_ms < last.ended_ms <= now_ms()) == (ROWS + 1, 1, True)
        made.audit = made.started()
        await made.passes(EVERY_S - 20)
        assert made.audit.last_pass() == last
        await made.passes(30)
        assert made.audit.last_pass() not in (None, last)

    audited(case)
