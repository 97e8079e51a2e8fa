"""The network between gateways and data nodes: the `DataNode` port as one machine has it of another.

It does what `datanode.remote` and `datanode.api` do, over messages that are late, are lost, come damaged, or reach nobody.
What was asked has its effect though nobody may hear of it; a sender that vanished is noticed late, if its machine went too.
"""

import asyncio
import enum
import pickle
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from awscrt.checksums import crc32c

from datanode.local import LocalNode
from datanode.node import QUORUM_S, BlobRef, BlobUnavailable, Piece, Writer
from datanode.store import BlobExists, Held
from tests.simulation.cluster.broker import Weather
from tests.simulation.cluster.processes import ClusterLoop, Process

CONNECT_S, READ_S = 2.0, 10.0  # as in `datanode.remote`
IDLE_S = 5.0  # shorter than in `datanode.api`: a sender that vanished keeps a group from being whole for so long
CHUNKS_MAX = 4
LOST, DAMAGED = 0.04, 0.04  # of answers and of what is sent, in bad weather
T = TypeVar("T")
Create = Callable[[LocalNode], Awaitable[Writer]]


class Machine(Process):
    """A process with an address."""

    def __init__(self, loop: ClusterLoop, name: str, boot_s: float) -> None:
        super().__init__(loop, boot_s)
        self.name = name
        self.node: LocalNode | None = None  # what it serves
        self.is_silent = False  # dead with its machine: nobody is told that its connections are gone
        self.died: asyncio.Future[None] = loop.create_future()  # and its peers are told
        self.ended: asyncio.Future[None] = loop.create_future()

    def die(self, *, silently: bool) -> None:
        if self.is_dead:
            return
        self.is_silent = silently
        self.kill()
        self.ended.set_result(None)
        if not silently:
            self.died.set_result(None)


class Network:
    def __init__(self, loop: ClusterLoop, weather: Weather, rng: random.Random, note: Callable[[str], None]) -> None:
        self.loop = loop
        self.weather = weather
        self.rng = rng
        self.note = note
        self.machines: dict[str, Machine] = {}  # by endpoint
        self.cut: set[frozenset[str]] = set()  # pairs of names that do not reach each other
        self.slow_s: dict[str, float] = {}  # name → what each message to or from it takes longer
        self.failures: list[str] = []  # of nodes that answered with none of the errors of their port

    def failed(self, machine: Machine, error: Exception) -> None:
        """A part of it ended, and should not have."""
        if not machine.is_dead:
            self.failures.append(f"{machine.name}: {error!r}")

    def is_cut(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self.cut

    def delay_s(self, one: str, other: str) -> float:
        return self.weather.delay_s() + self.slow_s.get(one, 0.0) + self.slow_s.get(other, 0.0)

    def befalls(self, share: float) -> bool:
        return self.weather.is_bad and self.rng.random() < share

    def damaged(self, data: bytes) -> bytes:
        if not data or not self.befalls(DAMAGED):
            return data
        self.note("bytes damaged on their way")
        at = self.rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << self.rng.randrange(8)]) + data[at + 1 :]


class SimulatedNode:
    def __init__(self, network: Network, own: Machine, endpoint: str) -> None:
        self._network = network
        self._own = own
        self._endpoint = endpoint

    async def create(self, ref: BlobRef, length: int, *, leads: bool, quorum_s: float = QUORUM_S) -> "SimulatedWriter":
        return SimulatedWriter(self, lambda node: node.create(ref, length, leads=leads, quorum_s=quorum_s), length)

    async def read(self, ref: BlobRef, start: int, size: int, position: int) -> bytes:
        if size <= 0:
            raise ValueError("a read asks for at least one byte")

        async def serve(node: LocalNode) -> tuple[bytes, int]:
            data = await node.read(ref, start, size, position)
            return data, crc32c(data)

        data, crc = await self._ask(serve)
        data = self._network.damaged(data)
        if crc32c(data) != crc or len(data) != size:
            raise OSError(f"{self._endpoint}: blob {ref.blob.hex()} was damaged on its way")
        return data

    async def pieces(self, group: int, wanted: Sequence[Piece], position: int) -> list[bytes | Exception]:
        async def serve(node: LocalNode) -> tuple[bytes, int]:
            data = pickle.dumps(await node.pieces(group, wanted, position))
            return data, crc32c(data)

        data, crc = await self._ask(serve)
        if crc32c(self._network.damaged(data)) != crc:
            raise OSError(f"{self._endpoint}: blobs of group {group} were damaged on their way")
        found: list[bytes | Exception] = pickle.loads(data)
        return found

    async def blobs(self, group: int, after: bytes, position: int) -> list[Held]:
        return await self._ask(lambda node: node.blobs(group, after, position))

    async def _ask(self, work: Callable[[LocalNode], Awaitable[T]]) -> T:
        peer, node = await self.reach()
        return await self.answer(peer, peer.run(self.serve(peer, lambda: work(node))))

    async def reach(self) -> tuple[Machine, LocalNode]:
        """Who listens there. Raises `OSError`."""
        network, peer = self._network, self._network.machines.get(self._endpoint)
        name = self._endpoint.removeprefix("http://")
        await asyncio.sleep(network.delay_s(self._own.name, name))
        if peer is None or peer.node is None or (peer.is_dead and not peer.is_silent):
            raise OSError(f"{self._endpoint} refused the connection")
        if peer.is_dead or network.is_cut(self._own.name, name):
            await asyncio.sleep(CONNECT_S)
            raise OSError(f"{self._endpoint} cannot be reached")
        return peer, peer.node

    async def serve(self, peer: Machine, work: Callable[[], Awaitable[T]]) -> T | Exception:
        """The answer, or the error that is one."""
        try:
            return await work()
        except (BlobUnavailable, BlobExists, OSError, ValueError, Disconnected) as error:
            return error
        except Exception as error:  # noqa: BLE001 - a node must not fail so; it is told at the end
            self._network.failed(peer, error)
            return OSError(f"{self._endpoint} failed: {error!r}")

    async def answer(self, peer: Machine, asked: "asyncio.Task[T | Exception]") -> T:
        """Raises what the node answered, or `OSError` where no answer comes."""
        network = self._network
        waited_for: set[asyncio.Future[Any]] = {asked, peer.died}
        await asyncio.wait(waited_for, timeout=READ_S, return_when=asyncio.FIRST_COMPLETED)
        if not asked.done() or network.befalls(LOST):
            raise OSError(f"{self._endpoint} is silent")
        await asyncio.sleep(network.delay_s(peer.name, self._own.name))
        if network.is_cut(self._own.name, peer.name):
            await asyncio.sleep(READ_S)
            raise OSError(f"the answer of {self._endpoint} was lost")
        found = asked.result()
        if isinstance(found, TimeoutError):
            raise OSError(f"{self._endpoint} is behind")
        if isinstance(found, Exception):
            raise found
        return found

    def send(self, peer: Machine, call: Callable[[], None]) -> None:
        """Something that arrives later, if it does."""
        if not self._own.is_silent and not self._network.is_cut(self._own.name, peer.name):
            self._network.loop.in_world(self._network.delay_s(self._own.name, peer.name), call)

    async def deliver(self, peer: Machine, incoming: "asyncio.Queue[_Message]", message: "_Message") -> None:
        await asyncio.sleep(self._network.delay_s(self._own.name, peer.name))
        while self._network.is_cut(self._own.name, peer.name):
            await asyncio.sleep(0.1)  # TCP sends it again
        await incoming.put(self._network.damaged(message) if isinstance(message, bytes) else message)


class Disconnected(Exception):
    """The sender has gone."""


class _Sign(enum.Enum):
    END = "all bytes were sent"
    GONE = "the connection is broken"


_Message = bytes | _Sign


class SimulatedWriter:
    """`RemoteWriter`, and what the API does with it at the other end: it commits as soon as all bytes have come."""

    def __init__(self, node: SimulatedNode, create: Create, length: int) -> None:
        self._node = node
        self._remaining = length
        self._chunks: asyncio.Queue[_Message] = asyncio.Queue(CHUNKS_MAX)
        self.crc32c = 0
        self._answer = asyncio.create_task(self._send(create))

    async def write(self, data: bytes) -> None:
        if len(data) > self._remaining:
            raise ValueError("more bytes than announced")
        self.crc32c = crc32c(data, self.crc32c)
        self._remaining -= len(data)
        await self._hand_over(data)
        if not self._remaining:
            await self._hand_over(_Sign.END)

    async def commit(self) -> list[str]:
        if self._remaining:
            raise ValueError(f"{self._remaining} bytes fewer than announced")
        crc, holders = await self._answer
        if crc != self.crc32c:
            raise OSError("the node received other bytes than were sent")
        return holders

    async def abort(self) -> None:
        self._answer.cancel()
        await asyncio.gather(self._answer, return_exceptions=True)

    async def _hand_over(self, message: _Message) -> None:
        putting = asyncio.create_task(self._chunks.put(message))
        await asyncio.wait([putting, self._answer], return_when=asyncio.FIRST_COMPLETED)
        if not putting.done():
            putting.cancel()
            await self._answer
            raise OSError("the node answered before it had all bytes")

    async def _send(self, create: Create) -> tuple[int, list[str]]:
        node = self._node
        peer, served = await node.reach()
        incoming: asyncio.Queue[_Message] = asyncio.Queue(CHUNKS_MAX)
        asked = peer.run(node.serve(peer, lambda: _receive(create(served), incoming)))
        with _telling(node, peer, incoming):
            sending = asyncio.create_task(self._pump(peer, incoming))
            try:
                waited_for: set[asyncio.Future[Any]] = {asked, peer.died, sending}
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                return await node.answer(peer, asked)
            finally:
                sending.cancel()

    async def _pump(self, peer: Machine, incoming: "asyncio.Queue[_Message]") -> None:
        message: _Message = b""
        while message is not _Sign.END:
            message = await self._chunks.get()
            await self._node.deliver(peer, incoming, message)


@contextmanager
def _telling(node: SimulatedNode, peer: Machine, incoming: "asyncio.Queue[_Message]") -> Iterator[None]:
    """A connection that ends is noticed at its other end."""

    def tell() -> None:
        while not incoming.empty():
            incoming.get_nowait()
        incoming.put_nowait(_Sign.GONE)

    try:
        yield
    finally:
        node.send(peer, tell)


async def _receive(created: Awaitable[Writer], incoming: "asyncio.Queue[_Message]") -> tuple[int, list[str]]:
    writer = await created
    try:
        while True:
            async with asyncio.timeout(IDLE_S):
                message = await incoming.get()
            if message is _Sign.GONE:
                raise Disconnected
            if isinstance(message, _Sign):
                break
            await writer.write(message)
        holders = await writer.commit()
        return writer.crc32c, holders
    except BaseException:
        await writer.abort()
        raise
