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
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from topics.disk import Disk
from topics.generation import Found, Generation, Label, standing
from topics.late import at_once
from topics.log import LogError
from topics.seal import sealed, unsealed

LABEL = "mirror.json"
LOG_COPIES = 3
LATE_S = 10.0  # that a disk may answer after the first one: less than half of what a client waits
LATE_AT_START_S = 30.0  # a disk may have to spin up, and is given whole files
ASK_S = 1.0  # that a read waits before another disk is asked, too
T = TypeVar("T")
log_ = logging.getLogger(__name__)


class Copy:
    """A disk in use, and which generation it knows of."""

    def __init__(self, name: str, disk: Disk, label: Label | None) -> None:
        self.name = name
        self.disk = disk
        self.id = label.own if label else uuid.uuid4().hex
        self.knows = label.generation if label else None

    async def run(self, work: "Callable[[Copy], T]") -> T:
        """In a thread of its disk."""
        return await self.disk.run(lambda: work(self))


class Copies:
    def __init__(self, mirror: str, generation: Generation, members: list[Copy]) -> None:
        self._id = mirror
        self._generation = generation
        self.members = members
        self.joining: list[Copy] = []
        self._is_untold = True  # the labels do not say who is a member
        self._telling = asyncio.Lock()
        self._late_s = LATE_AT_START_S

    @classmethod
    async def open(cls, disks: Mapping[str, Disk], sign: str) -> "Copies":
        """`disks` by name, at most `LOG_COPIES` of which are used; `sign`: the file that a disk with a log has."""
        found = await _look_at(disks, sign)
        if not found:
            raise LogError(f"none of {', '.join(disks)} can be read; mount or replace the disks")
        by_name = {name: Copy(name, disks[name], seen.label) for name, seen in found.items()}
        generation, current = standing(list(found.values()), {name: copy.id for name, copy in by_name.items()})
        labels = [seen.label for seen in found.values() if seen.label and seen.label.generation.number]
        members = [by_name[name] for name in current][:LOG_COPIES]
        copies = cls(labels[0].mirror if labels else uuid.uuid4().hex, generation, members)
        others = [copy for copy in by_name.values() if copy not in members]
        for name in generation.members.values():
            if name not in disks:
                _tell(name, "it is missing")
        async with copies._telling:
            await copies._begin()
        await copies._join(others[: LOG_COPIES - len(members)])
        return copies

    @property
    def in_use(self) -> list[Copy]:
        return [*self.members, *self.joining]

    async def admit(self) -> None:
        """Those that join have all, durably. The start has ended."""
        self._late_s = LATE_S
        if self.joining:
            log_.warning("the log is on %s from here on, too", " and ".join(copy.name for copy in self.joining))
            self.members, self.joining = self.in_use, []
            async with self._telling:
                await self._begin()

    async def ask(self, work: Callable[[Copy], T]) -> T:
        """Of the first member on which it goes well. Who keeps it waiting is asked after the others from then on."""
        failed: dict[Copy, OSError] = {}
        asked: dict[asyncio.Future[T], Copy] = {}
        left = list(self.members)
        try:
            while left or asked:
                if left:
                    copy = left.pop(0)
                    asked[asyncio.ensure_future(copy.run(work))] = copy
                done, _ = await asyncio.wait(asked, timeout=ASK_S if left else None, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    copy = asked.pop(task)
                    if not isinstance(error := task.exception(), OSError):
                        self._ask_last(asked.values())
                        await self._settle(failed)
                        return task.result()
                    failed[copy] = error
        finally:
            for task in asked:
                task.cancel()
        raise next(iter(failed.values()))

    def _ask_last(self, slow: Collection[Copy]) -> None:
        self.members.sort(key=lambda copy: copy in slow)

    async def each(self, work: Callable[[Copy], T]) -> dict[Copy, T]:
        """What it gave, of those on which it went well; in threads."""
        return await self.each_at_once(lambda copy: copy.run(work))

    async def each_at_once(self, work: Callable[[Copy], Coroutine[Any, Any, T]]) -> dict[Copy, T]:
        """A disk that hangs is left out like one that fails: `LATE_S` behind the first member on which it went well.

        Before that nobody is: what was given up may still be done, and must not come to a disk that goes on without it.
        """
        done, failed = await at_once({copy: work(copy) for copy in self.in_use}, set(self.members), self._late_s)
        await self._settle(failed)
        return done

    async def _settle(self, failed: Mapping[Copy, OSError]) -> None:
        """Go on without the disks on which an operation failed. Raises what is for its caller to know."""
        if not failed and not self._is_untold:
            return
        async with self._telling:  # who comes second finds it told
            if failed and all(copy in failed for copy in self.members):
                raise failed[self.members[0]]
            for copy in self.in_use:
                if copy in failed and (copy in self.joining or not _is_full(failed[copy])):
                    self._leave_out(copy, failed[copy])
            if self._is_untold:
                await self._begin()
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

    async def _begin(self) -> None:
        """A generation of those that are members now, known to each; a member that cannot store it is none."""
        self._is_untold = True
        is_told = False
        await self._label_all()  # with the one before, where that was broken off
        while not is_told:
            self._generation = self._generation.following({copy.id: copy.name for copy in self.members})
            is_told = await self._label_all()
        self._is_untold = False

    async def _label_all(self) -> bool:
        """Whether all members have the label. Those that could not store it are none any more."""
        lacking = [copy for copy in self.members if copy.knows != self._generation]
        needed = set(lacking) if len(lacking) == len(self.members) else set[Copy]()
        stores = {copy: self._label(copy, self._generation) for copy in lacking}
        _, failed = await at_once(stores, needed, self._late_s)
        for copy, error in failed.items():
            if _is_full(error) or len(self.members) == 1:
                raise error
            self._leave_out(copy, error)
        return not failed

    async def _label(self, copy: Copy, generation: Generation) -> None:
        label = sealed(msgspec.json.encode(Label(self._id, copy.id, generation)))
        await copy.run(lambda copy: copy.disk.store(LABEL, label))
        copy.knows = generation

    async def _join(self, others: Sequence[Copy]) -> None:
        """That their copies are not whole is known before they are touched."""
        _, failed = await at_once({copy: self._label(copy, Generation()) for copy in others}, (), self._late_s)
        for copy, error in failed.items():
            _tell(copy.name, str(error))
        self.joining = [copy for copy in others if copy not in failed]


def _is_full(error: OSError) -> bool:
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


async def _look_at(disks: Mapping[str, Disk], sign: str) -> dict[str, Found]:
    """What is on them; of those that cannot be read it is told."""

    def look(name: str, disk: Disk) -> Found:
        stored = disk.load(LABEL)
        label = None if stored is None else _parsed(name, stored)
        return Found(name, label, has_log=disk.load(sign) is not None)

    looks = {name: disk.run(partial(look, name, disk)) for name, disk in disks.items()}
    found, failed = await at_once(looks, disks, LATE_AT_START_S)
    for name, error in failed.items():
        _tell(name, str(error))
    return {name: found[name] for name in disks if name in found}


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
