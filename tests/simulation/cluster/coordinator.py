"""The consumer group that assigns partitions, as `topics.kafka.group` sees it: a coordinator, and a member in each process.

A member that fell silent is expelled after the session, and hears of it when it speaks again; others own its partitions
by then. One that hears nothing takes itself for expelled.
"""

import asyncio
import enum
import random
from collections import Counter
from collections.abc import Callable, Sequence

from processors.ownership import Ownership
from tests.simulation.cluster.processes import Process

SESSION_S, HEARTBEAT_S = 10.0, 1.0
CHECK_S = 0.25


class News(enum.Enum):
    ASSIGNED = enum.auto()
    REVOKED = enum.auto()


class Member:
    """In its process; obeys one piece of news after another."""

    def __init__(self, coordinator: "Coordinator", process: Process, ownership: Ownership) -> None:
        self.name = ""  # another each time that it joins
        self.holds: set[int] = set()
        self._coordinator = coordinator
        self._process = process
        self._ownership = ownership
        self._told: asyncio.Queue[tuple[News, set[int] | None, asyncio.Future[None]]] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_gone(self) -> bool:
        return self._process.is_dead

    def start(self) -> None:
        self._tasks = [self._process.run(self._obey()), self._process.run(self._stay())]

    async def stop(self) -> None:
        await self.tell(News.REVOKED, None)
        for task in self._tasks:
            task.cancel()
        self._coordinator.expel(self.name)

    def tell(self, news: News, partitions: set[int] | None) -> asyncio.Future[None]:
        """Done once it was obeyed. None: all that it holds."""
        done = self._process.loop.create_future()
        self._told.put_nowait((news, partitions, done))
        return done

    async def _obey(self) -> None:
        while True:
            news, named, done = await self._told.get()
            partitions = set(self.holds) if named is None else named
            if news is News.ASSIGNED:
                self.holds |= partitions
                await self._ownership.gained(partitions)
            else:
                self.holds -= partitions
                await self._ownership.lost(partitions)
            if not done.done():
                done.set_result(None)

    async def _stay(self) -> None:
        """Also without an answer for a session it takes itself for expelled."""
        loop = self._process.loop
        while True:
            self.name = self._coordinator.join(self)
            heard = loop.time()
            while loop.time() - heard < SESSION_S:
                await asyncio.sleep(HEARTBEAT_S)
                is_member = self._coordinator.heartbeat(self.name)
                if is_member is False:
                    break
                if is_member:
                    heard = loop.time()
            await asyncio.sleep(self._coordinator.rng.random())  # until the process polls
            await self.tell(News.REVOKED, None)


class Coordinator:
    def __init__(self, partitions: Sequence[int], rng: random.Random, now_s: Callable[[], float]) -> None:
        self.rng = rng
        self.assigned: dict[int, str] = dict.fromkeys(partitions, "")
        self.deaf_until: dict[str, float] = {}  # a member's heartbeats do not get through
        self._now_s = now_s
        self._members: dict[str, Member] = {}
        self._heard: dict[str, float] = {}
        self._joining: set[str] = set()  # and not told yet what they have

    def join(self, member: Member) -> str:
        name = f"member {len(self._heard):03}"
        self._members[name] = member
        self._heard[name] = self._now_s()
        self._joining.add(name)
        return name

    def expel(self, name: str) -> None:
        self._members.pop(name, None)
        self._joining.discard(name)

    def heartbeat(self, name: str) -> bool | None:
        """Whether it is a member; None where nobody answers."""
        if self.deaf_until.get(name, 0.0) > self._now_s():
            return None
        self._heard[name] = self._now_s()
        return name in self._members

    @property
    def is_settled(self) -> bool:
        """Whether it has missed who is gone, and everyone else has a part."""
        is_complete = not any(each.is_gone for each in self._members.values())
        return is_complete and not self._joining and self._wanted() == self.assigned

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            for name in list(self._members):
                if self._now_s() - self._heard[name] > SESSION_S:
                    self.expel(name)

    async def assign(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S + self.rng.random() * CHECK_S)
            wanted = self._wanted()
            if not self._members or (wanted == self.assigned and not self._joining):
                continue
            for partition, name in self.assigned.items():
                if name in self._members and wanted[partition] != name:
                    await self._take_back(name, partition)
                    self.assigned[partition] = ""
            for name in list(self._members):
                gained = {each for each, to in wanted.items() if to == name and self.assigned[each] != name}
                if gained or name in self._joining:
                    self.assigned |= dict.fromkeys(gained, name)
                    self._joining.discard(name)
                    self._members[name].tell(News.ASSIGNED, gained)

    async def _take_back(self, name: str, partition: int) -> None:
        done = self._members[name].tell(News.REVOKED, {partition})
        while not done.done() and name in self._members:
            await asyncio.sleep(CHECK_S / 5)

    def _wanted(self) -> dict[int, str]:
        """What can stay stays; the rest goes to who has least."""
        most = -(-len(self.assigned) // max(len(self._members), 1))
        load = Counter(dict.fromkeys(self._members, 0))
        wanted = dict.fromkeys(self.assigned, "")
        for partition, name in self.assigned.items():
            if name in load and load[name] < most:
                wanted[partition] = name
                load[name] += 1
        for partition, name in wanted.items():
            if not name and load:
                least = min(load, key=lambda each: (load[each], each))
                wanted[partition] = least
                load[least] += 1
        return wanted
