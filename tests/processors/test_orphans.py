"""Which blobs are referred to, and what a data node that asks for those that are not is told."""

import pytest

from processors.machine import tables
from processors.machine.tables import ORPHANED, REFERENCED
from tests.processors.machine import Machine, blob_id
from tests.processors.rows import CREATE, PLAIN, START, B, K, complete, done, part, put, rejected
from topics import commands, events

REMOVE, ABORT = commands.DeleteObject(B, K), commands.AbortUpload(B, K, "upload")
FORGET = commands.ForgetReleased(0, 99)
OPEN: list[commands.Body] = [CREATE, START, part(1, "a"), part(2, "b")]


def after(*bodies: commands.Body) -> Machine:
    machine = Machine()
    for body in bodies:
        assert not machine.send(body).reply.error
    return machine


def references(machine: Machine) -> dict[str, bytes | None]:
    return {name: tables.reference(machine.replayed(), blob_id(name)) for name in "abc"}


def orphans(*names: str) -> commands.ReleaseOrphans:
    return commands.ReleaseOrphans(0, [(0, blob_id(name)) for name in names])


def found(*names: str) -> events.OrphansFound:
    return events.OrphansFound([(0, blob_id(name)) for name in names])


REFERRED: list[tuple[str, list[commands.Body], str]] = [
    ("by an object", [CREATE, put("a", "b")], "ab"),
    ("replaced, and not yet given back", [CREATE, put("a"), put("b")], "ab"),
    ("replaced, and given back", [CREATE, put("a"), put("b"), FORGET], "b"),
    ("removed, and not yet given back", [CREATE, put("a"), REMOVE], "a"),
    ("removed, and given back", [CREATE, put("a"), REMOVE, FORGET], ""),
    ("removed behind what was given back", [CREATE, put("a"), REMOVE, commands.ForgetReleased(0, 3)], "a"),
    ("by parts", OPEN, "ab"),
    ("by a part that replaced another", [*OPEN, part(2, "c"), FORGET], "ac"),
    ("by a completed upload, which took one of two parts", [*OPEN, complete((1, "a")), FORGET], "a"),
    ("by a completed upload", [*OPEN, complete((1, "a"), (2, "b")), FORGET], "ab"),
    ("by an upload that was broken off", [*OPEN, ABORT], "ab"),
    ("by an upload that was broken off, and given back", [*OPEN, ABORT, FORGET], ""),
    ("by an upload in a bucket that was deleted", [*OPEN, commands.DeleteBucket(B), FORGET], ""),
]


@pytest.mark.parametrize(("given", "referred"), [row[1:] for row in REFERRED], ids=[row[0] for row in REFERRED])
def test_what_is_referred_to_stays_and_all_else_is_an_orphan(given: list[commands.Body], referred: str) -> None:
    machine = after(*given)
    assert references(machine) == {name: REFERENCED if name in referred else None for name in "abc"}
    others = [name for name in "abc" if name not in referred]
    before = machine.state()
    assert machine.send(orphans("a", "b", "c")) == (done(), found(*others))
    assert references(machine) == {name: REFERENCED if name in referred else ORPHANED for name in "abc"}
    assert machine.state() == before | {"garbage": [*before.get("garbage", []), *others]}


def test_nothing_is_decided_where_all_are_referred_to() -> None:
    assert after(CREATE, put("a")).send(orphans("a")) == (done(), None)


def test_an_orphan_that_a_node_still_has_is_released_again() -> None:
    machine = after(CREATE, orphans("a"), FORGET)
    assert "garbage" not in machine.state()
    assert machine.send(orphans("a")) == (done(), found("a"))
    assert machine.state()["garbage"] == ["a"]


@pytest.mark.parametrize("given", [[orphans("a")], [orphans("a"), FORGET]], ids=["found", "given back"])
@pytest.mark.parametrize("late", [put("a"), put("b", "a"), part(1, "a")], ids=["put", "put of two", "part"])
def test_a_command_that_names_an_orphan_comes_too_late(given: list[commands.Body], late: commands.Body) -> None:
    machine = after(CREATE, START, *given)
    before = machine.state()
    assert machine.send(late) == (rejected("RequestTimeout"), None)
    assert machine.state() == before


def test_a_blob_of_a_group_is_named_so_in_its_release() -> None:
    machine = after(commands.ReleaseOrphans(0, [(5, blob_id("a"))]))
    assert list(tables.garbage(machine.replayed())) == [(tables.Cut(1), [(5, blob_id("a"))])]


def test_an_empty_object_refers_to_nothing() -> None:
    machine = after(CREATE, commands.PutObject(B, K, 0, "e", [], None, PLAIN))
    assert references(machine) == dict.fromkeys("abc")
