"""The release reactor: what became garbage goes back to the volumes in bounded steps, and is forgotten."""

import itertools
from collections.abc import Awaitable, Callable

import pytest

from processors.machine import apply, decide, tables
from processors.machine.tables import Cut
from processors.memory import MemoryView
from processors.releases import DISCARDS_MAX, PATIENCE_PASSES, STEP_BLOBS_MAX, STEPS_MAX, Releaser
from processors.view import Overlay
from tests.processors.machine import Machine, blob_id
from tests.processors.rows import CREATE, START, B, K, complete, extents, part
from tests.virtual import run
from topics import commands, spec, writes
from topics.log import LogError
from topics.memory import MemoryLog
from topics.objects import Attributes
from topics.spec import TopicPartition

MANY = apply.ROWS_AT_ONCE_MAX + 1


class Yard:
    """A releaser of partition 3 with what it said."""

    def __init__(self) -> None:
        self.log = MemoryLog("the log", lambda: 1)
        self.said: list[commands.Body] = []
        self.releaser = Releaser(self.log, 3, self.submit)

    async def submit(self, body: commands.Body) -> None:
        self.said.append(body)

    async def released(self, group: int) -> list[int]:
        records = await self.log.read(TopicPartition("writes", group), 0, records_max=99_999)
        assert all(record.value == writes.RELEASE for record in records)
        return [int.from_bytes(record.key, "big") & 0xFFFFF for record in records]


def yard(case: Callable[[Yard], Awaitable[None]]) -> None:
    async def whole() -> None:
        made = Yard()
        await made.log.create_topics(spec.ALL)
        await case(made)

    run(whole())


def garbage(count: int, view: MemoryView | None = None) -> MemoryView:
    """At each position a blob of group 0 and one of group 1."""
    view = MemoryView() if view is None else view
    overlay = Overlay(view)
    for position in range(count):
        blobs = [(0, f"{position:032x}"), (1, f"{position + (1 << 20):032x}")]
        tables.put(overlay, tables.garbage_key(Cut(position)), blobs)
    view.commit(overlay.changes)
    return view


def forget(view: MemoryView, said: commands.Body) -> None:
    assert isinstance(said, commands.ForgetReleased)
    overlay = Overlay(view)
    apply._forget_released(overlay, Cut(said.below, said.number))
    view.commit(overlay.changes)


def test_garbage_below_a_position_is_released_to_its_groups_and_then_forgotten() -> None:
    async def case(made: Yard) -> None:
        assert await made.releaser.run_pass(garbage(9), 5) == 10
        assert [await made.released(group) for group in (0, 1)] == [[0, 1, 2, 3, 4]] * 2
        assert made.said == [commands.ForgetReleased(3, 4, 1)]

    yard(case)


def test_nothing_to_release_is_nothing_to_forget() -> None:
    async def case(made: Yard) -> None:
        assert await made.releaser.run_pass(garbage(9), 0) == 0
        assert made.said == []

    yard(case)


def test_much_garbage_goes_in_steps_and_a_pass_has_an_end() -> None:
    async def case(made: Yard) -> None:
        view = garbage(STEPS_MAX * STEP_BLOBS_MAX)
        assert await made.releaser.run_pass(view, 1 << 40) == STEPS_MAX * STEP_BLOBS_MAX
        half = STEP_BLOBS_MAX // 2
        assert made.said == [commands.ForgetReleased(3, step * half - 1, 1) for step in range(1, STEPS_MAX + 1)]
        for each in made.said:
            forget(view, each)
        assert await made.releaser.run_pass(view, 1 << 40) == STEPS_MAX * STEP_BLOBS_MAX
        assert await made.released(0) == list(range(STEPS_MAX * STEP_BLOBS_MAX))

    yard(case)


def test_what_is_not_forgotten_yet_is_not_released_again_at_once() -> None:
    async def case(made: Yard) -> None:
        view = garbage(3)
        assert await made.releaser.run_pass(view, 9) == 6
        for _ in range(PATIENCE_PASSES):
            assert await made.releaser.run_pass(view, 9) == 0
        assert await made.releaser.run_pass(view, 9) == 6  # the command is past its deadline

    yard(case)


def test_what_could_not_be_released_is_not_forgotten() -> None:
    async def case(made: Yard) -> None:
        view = garbage(3)
        made.log.fail_next = 1
        with pytest.raises(LogError):
            await made.releaser.run_pass(view, 9)
        assert made.said == []
        assert await made.releaser.run_pass(view, 9) == 6

    yard(case)


def test_forgetting_costs_nothing_of_what_was_forgotten_before() -> None:
    class Counting(MemoryView):
        def __init__(self) -> None:
            super().__init__()
            self.starts: list[bytes] = []

        def scan(self, start: bytes, end: bytes) -> itertools.chain[tuple[bytes, bytes]]:
            self.starts.append(start)
            return itertools.chain(super().scan(start, end))

    view = Counting()
    garbage(9, view)
    forget(view, commands.ForgetReleased(3, 5, 0))
    view.starts.clear()
    assert [place.position for place, _ in tables.garbage(view)] == [5, 6, 7, 8]
    assert view.starts == [tables.garbage_key(Cut(5))]


def with_parts(count: int) -> Machine:
    machine = Machine()
    parts = [part(number, f"b{number}") for number in range(1, count + 1)]
    asked: list[commands.Body] = [CREATE, START, *parts]
    for body in asked:
        assert not machine.send(body).reply.error
    return machine


def discard(machine: Machine) -> int:
    """Ask until there is nothing left; returns how often there was."""
    for asked in itertools.count():
        if machine.send(commands.DiscardParts(0)).event is None:
            return asked
    raise AssertionError


def rows(machine: Machine, table: bytes) -> int:
    return sum(key.startswith(table) for key in machine.view.rows)


def garbage_of(machine: Machine) -> list[str]:
    return sorted(blob for _, blobs in tables.garbage(machine.replayed()) for _, blob in blobs)


def blobs_of(*numbers: int) -> list[str]:
    return sorted(blob_id(f"b{number}") for number in numbers)


def test_many_parts_of_an_aborted_upload_become_garbage_bit_by_bit() -> None:
    count = 2 * decide.PARTS_DISCARDED_MAX + 7
    machine = with_parts(count)
    machine.send(commands.AbortUpload(B, K, "upload"))
    assert machine.send(commands.AbortUpload(B, K, "upload")).reply.error == "NoSuchUpload"
    assert garbage_of(machine) == []
    machine.send(commands.DiscardParts(0))
    assert garbage_of(machine) == blobs_of(*range(1, decide.PARTS_DISCARDED_MAX + 1))
    assert discard(machine) == 2
    assert garbage_of(machine) == blobs_of(*range(1, count + 1))
    assert (rows(machine, b"p\0"), rows(machine, b"d\0")) == (0, 0)
    assert max(len(blobs) for _, blobs in tables.garbage(machine.view)) <= tables.BLOBS_MAX


def test_of_many_parts_of_a_completed_upload_those_not_named_become_garbage() -> None:
    machine = with_parts(MANY + 2)
    named = list(range(1, MANY + 1))
    assert not machine.send(complete(*((number, f"b{number}") for number in named))).reply.error
    assert discard(machine) == 1
    assert garbage_of(machine) == blobs_of(MANY + 1, MANY + 2)
    assert rows(machine, b"p\0") == 0
    row = tables.current(machine.view, "i" * 32, K)
    assert row is not None
    assert row.extents == extents(*(f"b{number}" for number in named))


def test_many_uploads_of_a_deleted_bucket_go_bit_by_bit_and_none_of_its_namesake() -> None:
    machine = Machine()
    machine.send(CREATE)
    for number in range(MANY):
        start = commands.CreateUpload(B, f"{K}{number}", f"{number:032x}", "", "", Attributes())
        one = commands.PutPart(B, f"{K}{number}", f"{number:032x}", 1, 5, "e", extents(f"b{number}"), None)
        assert not machine.send(start).reply.error
        assert not machine.send(one).reply.error
    machine.send(commands.DeleteBucket(B))
    machine.send(commands.CreateBucket(B, "j" * 32, "region"))
    machine.send(START)
    machine.send(part(1, "other"))
    assert discard(machine) == 2
    assert garbage_of(machine) == blobs_of(*range(MANY))
    assert (rows(machine, b"p\0"), rows(machine, b"u\0"), rows(machine, b"d\0")) == (1, 1, 0)


def test_few_parts_are_garbage_at_once() -> None:
    machine = with_parts(MANY - 1)
    machine.send(commands.AbortUpload(B, K, "upload"))
    assert len(garbage_of(machine)) == MANY - 1
    assert discard(machine) == 0


def test_a_pass_asks_for_dropped_parts_to_be_discarded() -> None:
    async def case(made: Yard) -> None:
        machine = with_parts(MANY)
        await made.releaser.run_pass(machine.view, 1 << 40)
        assert made.said == []
        machine.send(commands.AbortUpload(B, K, "upload"))
        await made.releaser.run_pass(machine.view, 1 << 40)
        assert made.said == [commands.DiscardParts(3)] * DISCARDS_MAX

    yard(case)
