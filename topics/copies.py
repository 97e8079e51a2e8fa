"""The disks of a mirror that are in use: an operation goes to all of them, and one on which it fails is left out.

Rules: a disk that fails or hangs is left out, and the others' labels say so (`topics/generation.py`), before the operation
returns.
The last member is never left out, nor any where an operation fails on all of them. A full disk is an error of the operation
as without a mirror. A disk that is joining has all operations, and is a member behind `admit`.
Errors: `OSError` as of one disk; `LogError` at the start where it cannot be known which disks have all.
"""

import asyncio
import errno
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec

from topics.disk import Disk
from topics.generation import Found, Generation, Label, standing
from topics.log import LogError
from topics.seal import sealed, unsealed

LABEL = "mirror.json"
LOG_COPIES = 3
LATE_S = 10.0  # that a disk may answer after the first one: less than half of what a client waits
T = TypeVar("T")
log_ = logging.getLogger(__name__)


class Copy:
    """A disk in use, and which generation it knows of."""

    def __init__(self, name: str, disk: Disk, label: Label | None) -> None:
        self.name = name
        self.disk = disk
        self.id = label.own if label else uuid.uuid4().hex
        self.knows = label.generation if label else None


class Copies:
    def __init__(self, disks: Mapping[str, Disk], sign: str) -> None:
        """`disks` by name, at most `LOG_COPIES` of which are used; `sign`: the file that a disk with a log has."""
        found = {name: seen for name, disk in disks.items() if (seen := _look(name, disk, sign))}
        if not found:
            raise LogError(f"none of {', '.join(disks)} can be read; mount or replace the disks")
        copies = {name: Copy(name, disks[name], seen.label) for name, seen in found.items()}
        self._generation, current = standing(list(found.values()), {name: copy.id for name, copy in copies.items()})
        labels = [seen.label for seen in found.values() if seen.label and seen.label.generation.number]
        self._id = labels[0].mirror if labels else uuid.uuid4().hex
        self.members = [copies[name] for name in current][:LOG_COPIES]
        self.joining: list[Copy] = []
        others = [copy for copy in copies.values() if copy not in self.members]
        for name in self._generation.members.values():
            if name not in disks:
                _tell(name, "it is missing")
        self._begin()
        for copy in others[: LOG_COPIES - len(self.members)]:
            self._join(copy)

    @property
    def in_use(self) -> list[Copy]:
        return [*self.members, *self.joining]

    def admit(self) -> None:
        """Those that join have all, durably."""
        if self.joining:
            log_.warning("the log is on %s from here on, too", " and ".join(copy.name for copy in self.joining))
            self.members, self.joining = self.in_use, []
            self._begin()

    def ask(self, work: Callable[[Copy], T]) -> T:
        """Of the first member on which it goes well."""
        failed: dict[Copy, OSError] = {}
        for copy in list(self.members):
            try:
                found = work(copy)
            except OSError as error:
                failed[copy] = error
                continue
            self._settle(failed)
            return found
        raise next(iter(failed.values()))

    def each(self, work: Callable[[Copy], T]) -> dict[Copy, T]:
        """What it gave, of those on which it went well."""
        done: dict[Copy, T] = {}
        failed: dict[Copy, OSError] = {}
        for copy in self.in_use:
            try:
                done[copy] = work(copy)
            except OSError as error:
                failed[copy] = error
        self._settle(failed)
        return done

    async def each_at_once(self, work: Callable[[Copy], Awaitable[None]]) -> None:
        """A disk that hangs is left out like one that fails: `LATE_S` behind the first member on which it went well.

        Before that nobody is: what was given up may still be done, and must not come to a disk that goes on without it.
        """
        tasks = {copy: asyncio.ensure_future(work(copy)) for copy in self.in_use}
        pending = set(tasks.values())
        try:
            while pending and not any(_went_well(tasks[copy]) for copy in self.members):
                _, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if pending:
                _, pending = await asyncio.wait(pending, timeout=LATE_S)
        finally:
            for task in pending:
                task.cancel()
        failed: dict[Copy, OSError] = {}
        for copy, task in tasks.items():
            if task in pending:
                failed[copy] = OSError(errno.ETIMEDOUT, f"no answer for {LATE_S:g} s")
            elif isinstance(error := task.exception(), OSError):
                failed[copy] = error
            elif error is not None:
                raise error
        self._settle(failed)

    def _settle(self, failed: Mapping[Copy, OSError]) -> None:
        """Go on without the disks on which an operation failed. Raises what is for its caller to know."""
        if not failed and not self._is_untold:
            return
        if all(copy in failed for copy in self.members):
            raise failed[self.members[0]]
        for copy in self.in_use:
            if copy in failed and (copy in self.joining or not _is_full(failed[copy])):
                self._leave_out(copy, failed[copy])
        if self._is_untold:
            self._begin()
        for copy in self.members:
            if copy in failed:
                raise failed[copy]

    def _leave_out(self, copy: Copy, error: OSError) -> None:
        _tell(copy.name, str(error))
        if copy in self.joining:
            self.joining.remove(copy)
        else:
            self.members.remove(copy)
            self._is_untold = True

    def _begin(self) -> None:
        """A generation of those that are members now, known to each; a member that cannot store it is none."""
        self._is_untold = True
        while self._is_untold:
            self._is_untold = False
            self._label_all()  # with the one before, where that was broken off
            if not self._is_untold:
                self._generation = self._generation.following({copy.id: copy.name for copy in self.members})
                self._label_all()

    def _label_all(self) -> None:
        for copy in [each for each in self.members if each.knows != self._generation]:
            try:
                self._label(copy, self._generation)
            except OSError as error:
                if _is_full(error) or len(self.members) == 1:
                    self._is_untold = True
                    raise
                self._leave_out(copy, error)

    def _label(self, copy: Copy, generation: Generation) -> None:
        copy.disk.store(LABEL, sealed(msgspec.json.encode(Label(self._id, copy.id, generation))))
        copy.knows = generation

    def _join(self, copy: Copy) -> None:
        """That its copy is not whole is known before it is touched."""
        try:
            self._label(copy, Generation())
        except OSError as error:
            _tell(copy.name, str(error))
        else:
            self.joining.append(copy)


def _went_well(task: "asyncio.Future[None]") -> bool:
    return task.done() and task.exception() is None


def _is_full(error: OSError) -> bool:
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


def _look(name: str, disk: Disk, sign: str) -> Found | None:
    """What is on a disk; None, and it is told, where it cannot be read."""
    try:
        stored = disk.load(LABEL)
        label = None if stored is None else _parsed(name, stored)
        return Found(name, label, has_log=disk.load(sign) is not None)
    except OSError as error:
        _tell(name, str(error))
        return None


def _parsed(name: str, stored: bytes) -> Label:
    """One that is damaged says nothing: its disk is copied anew."""
    try:
        return msgspec.json.decode(unsealed(stored), type=Label)
    except ValueError as error:
        log_.error("%s of %s is damaged (%s)", LABEL, name, error)
        return Label("", uuid.uuid4().hex)


def _tell(name: str, why: str) -> None:
    log_.critical(
        "the log goes on without its copy on %s: %s; replace the disk and start again with an empty folder there, "
        "or start without that folder",
        name,
        why,
    )
