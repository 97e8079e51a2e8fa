"""Gateways' side of the data plane, and clients on few keys, each of which one client writes."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from datanode.client import Blobs
from datanode.node import BlobUnavailable
from datanode.placement import PlacementMap
from datanode.routing import STICKY_S
from gateway import payload
from gateway.errors import S3Error
from gateway.submit import Commander
from processors.machine import tables
from tests.simulation.cluster.broker import Connection, Weather
from tests.simulation.data.network import Machine, Network, SimulatedNode
from tests.simulation.data.owner import BUCKET, PARTITION, Owner
from tests.simulation.data.watch import Watch
from tests.simulation.invariants import CorruptionIsNeverServed, FullNodesTakeNothing
from topics import commands
from topics.log import LogError
from topics.memory import MemoryLog
from topics.objects import Attributes
from topics.placement import Group, Placement, State
from topics.replies import Reply

KEYS_EACH = 3
PATIENCE_S = 30.0
CHUNK_BYTES = 15_000  # of an upload


class Gateways:
    """`processors.runtime.Replies`, to the gateways that live now."""

    outlives_owner = False

    def __init__(self, network: Network) -> None:
        self._network = network
        self.all: list[Gateway] = []

    def send(self, gateway: str, reply: Reply) -> None:
        for each in self.all:
            if each.name == gateway:
                self._network.loop.in_world(self._network.weather.delay_s(), partial(each.commander.send, gateway, reply))


class GatewayMap(PlacementMap):
    """Remembers since when each node has been full in the maps that came, and since when there was room elsewhere, or
    none at all."""

    def __init__(self) -> None:
        super().__init__()
        self._full_since_s: dict[str, float] = {}
        self._room_since_s = self._no_room_since_s = float("inf")

    def update(self, found: Placement) -> None:
        super().update(found)
        now_s = asyncio.get_running_loop().time()
        full = {name for name, node in self.current.nodes.items() if node.is_full}
        self._full_since_s = {name: self._full_since_s.get(name, now_s) for name in full}
        has_room = any(map(partial(_has_room, self.current), self.current.groups))
        self._room_since_s = min(self._room_since_s, now_s) if has_room else float("inf")
        has_none = all(map(partial(_is_full, self.current), self.current.groups))
        self._no_room_since_s = min(self._no_room_since_s, now_s) if has_none else float("inf")

    def check_room(self, group: int, begun: Placement, begun_s: float) -> None:
        """Of a group that was chosen for a small payload since then, or a while before."""
        known = {name for name, since_s in self._full_since_s.items() if since_s < begun_s - STICKY_S}
        if known & set(begun.groups[group].targets) and self._room_since_s < begun_s - STICKY_S:
            raise FullNodesTakeNothing(f"{known} are full, and group {group} was chosen")
        if self._no_room_since_s < begun_s - STICKY_S:
            raise FullNodesTakeNothing(f"no group has a quorum with room, and group {group} was chosen")


def _has_room(placement: Placement, group: Group) -> bool:
    found = [placement.nodes[name] for name in group.targets]
    return len(found) >= placement.quorum and all(each.state is State.UP and not each.is_full for each in found)


def _is_full(placement: Placement, group: Group) -> bool:
    """All targets are up, and too few of them have room."""
    found = [placement.nodes[name] for name in group.targets]
    are_up = len(found) >= placement.quorum and all(each.state is State.UP for each in found)
    return are_up and sum(not each.is_full for each in found) < placement.quorum


class Gateway:
    def __init__(self, number: int, network: Network, log: MemoryLog, weather: Weather) -> None:
        self.name = f"gateway-{number}"
        self._network = network
        self._log = log
        self._weather = weather
        self._boots = 0
        self.start()

    def start(self) -> None:
        self._boots += 1
        loop, rng = self._network.loop, self._network.rng
        machine = self.machine = Machine(loop, self.name, rng.random() * 1e6)
        self.connection = Connection(self._log, machine, self._weather)
        self.known = GatewayMap()
        self.blobs = blobs_of(self._network, machine, self.connection, self.known, loop.time)
        self.commander = Commander(self.connection, self.name, lambda: int(loop.time() * 1000), durable=True)
        machine.run(self.known.run(self.connection))


def blobs_of(
    network: Network, machine: Machine, connection: Connection, known: PlacementMap, now_s: Callable[[], float]
) -> Blobs:
    """What a gateway on `machine` has of the data nodes."""
    rng = network.rng

    def new_blob() -> bytes:
        return int(now_s() * 1000).to_bytes(6, "big") + rng.randbytes(10)

    nodes = lambda endpoint: SimulatedNode(network, machine, endpoint)  # noqa: E731
    return Blobs(connection, known, nodes, durable=True, rng=rng, new_blob=new_blob)


class History:
    """Of each key, what was acknowledged and what may come to be: a write that was given up may land late."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        self.possible: dict[str, set[int]] = {}
        self.reached: Counter[str] = Counter()
        self.unanswered: list[str] = []
        self.longest_s = 0.0
        self.requests = 0
        self._last = 0

    def begins(self, key: str, *, deletes: bool) -> int:
        """The value that stands for what is to be; below zero: for nothing."""
        self._last += 1
        value = -self._last if deletes else self._last
        self.possible.setdefault(key, set()).add(value)
        return value

    def done(self, key: str, value: int) -> None:
        self.acknowledged[key] = value
        self.possible[key].discard(value)

    def allowed(self, key: str) -> set[int | None]:
        """None: no such key."""
        values = {self.acknowledged.get(key, -1), *self.possible.get(key, ())}
        return {value if value > 0 else None for value in values}


class Client:
    def __init__(
        self, number: int, gateway: Gateway, owner: Owner, history: History, network: Network, watch: Watch
    ) -> None:
        self._number = number
        self._gateway = gateway
        self._owner = owner
        self._history = history
        self._network = network
        self._watch = watch
        self._rng: random.Random = network.rng
        self.writing_since_s: float | None = None

    async def run(self, until_s: float, pause_s: float) -> None:
        loop = self._network.loop
        while loop.time() < until_s:
            started_s = loop.time()
            await self._act()
            self._history.longest_s = max(self._history.longest_s, loop.time() - started_s)
            await asyncio.sleep(self._rng.random() * 2 * pause_s)

    async def _act(self) -> None:
        key = f"{self._number}/{self._rng.randrange(KEYS_EACH)}"
        match self._rng.choices(["small", "large", "delete", "read", "leave"], [4, 4, 2, 6, 1])[0]:
            case "read":
                other = f"{self._rng.randrange(self._number + 1)}/{self._rng.randrange(KEYS_EACH)}"
                await self._ask("read", partial(self.read, other))
            case "leave":  # in the middle of an upload
                value = self._history.begins(key, deletes=False)
                await self._ask("left", partial(self._put, key, value, large=True), self._rng.random() * 0.1)
            case kind:
                await self._write(kind, key)

    async def _write(self, kind: str, key: str) -> None:
        value = self._history.begins(key, deletes=kind == "delete")
        put = partial(self._put, key, value, large=kind == "large")
        self.writing_since_s = self._network.loop.time()
        is_done = await self._ask(kind, put if value > 0 else partial(self._delete, key))
        self.writing_since_s = None
        if is_done:
            self._history.done(key, value)
            if self._rng.random() < 0.5:
                await self._ask("read", partial(self.read, key))

    async def _ask(self, kind: str, work: Callable[[], Awaitable[None]], patience_s: float = PATIENCE_S) -> bool:
        """Whether it was done."""
        machine = self._gateway.machine
        if machine.is_dead:
            return False
        asked = machine.run(self._tried(work))
        waited_for: set[asyncio.Future[Any]] = {asked, machine.ended}
        await asyncio.wait(waited_for, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            asked.cancel()
            outcome = "given up"
        else:
            outcome = asked.result()
        self._history.reached[f"{kind}: {outcome}"] += 1
        if outcome != "done" and kind != "left":
            self._history.unanswered.append(f"{kind} of client {self._number}: {outcome}")
        return outcome == "done"

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> str:
        try:
            await work()
        except S3Error as error:
            return error.code
        except LogError:
            return "log failed"
        except OSError as error:
            return type(error).__name__
        return "done"

    async def _put(self, key: str, value: int, *, large: bool) -> None:
        data, blobs = content(value, large=large), self._gateway.blobs
        begun, begun_s = self._gateway.known.current, self._network.loop.time()
        if large:
            extents = await payload.write_extents(blobs, _chunks(data), len(data), PARTITION)
            self._watch.check_stored(extents, begun_s)
        else:
            extents = await payload.put_inline(blobs, data, PARTITION)
            for extent in extents:
                self._gateway.known.check_room(extent.group, begun, begun_s)
        body = commands.PutObject(BUCKET, key, len(data), f"{value}", extents, None, Attributes())
        await self._gateway.commander.submit_payload(self._request(), "root", body)

    async def _delete(self, key: str) -> None:
        await self._gateway.commander.submit(self._request(), "root", commands.DeleteObject(BUCKET, key))

    def _request(self) -> str:
        self._history.requests += 1
        return f"R{self._history.requests}"

    async def read(self, key: str) -> None:
        """Raises `OSError` where not all of its bytes can be had."""
        reads = self._owner.open_reads
        read = await reads.begin()
        try:
            if (row := self._owner.current(key)) is not None:
                blobs = payload.read(self._gateway.blobs, row.extents, 0, row.size, lambda: reads.check(read))
                check(key, row, b"".join([each async for each in blobs]))
        except BlobUnavailable as error:
            raise OSError(f"{key} cannot be read: {error}") from error
        finally:
            reads.end(read)


def check(key: str, row: tables.Object, data: bytes) -> None:
    value = int(row.etag)
    if data != content(value, large=row.size > SMALL_BYTES):
        raise CorruptionIsNeverServed(f"{key}, value {value}")


SMALL_BYTES = 3_000


def content(value: int, *, large: bool) -> bytes:
    """The payload that stands for a value."""
    size = SMALL_BYTES + 1 + (value * 7919) % 60_000 if large else 8 + (value * 7919) % (SMALL_BYTES - 8)
    return (value.to_bytes(8, "big") * (size // 8 + 1))[:size]


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]
