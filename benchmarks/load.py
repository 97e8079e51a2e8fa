"""A load generator: one process, several kept-alive connections, each of which does one piece of work after the other.

Only what a measurement needs: answers are read by their Content-Length, and bodies kept only where they are asked for.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, cast
from urllib.parse import quote, urlencode

from benchmarks.requests import Call, Target, request_pieces


class Answer(NamedTuple):
    head: bytes
    body: bytes  # where it was to be kept


class Connection(asyncio.Protocol):
    def __init__(self, target: Target) -> None:
        self._target = target
        self._head = b""
        self._left = 0
        self._is_head_only = self._is_well = False
        self._kept: list[bytes] | None = None
        self._answer: asyncio.Future[Answer] | None = None

    async def open(self) -> "Connection":
        await asyncio.get_running_loop().create_connection(lambda: self, self._target.host, self._target.port)
        return self

    def close(self) -> None:
        self._transport.close()

    async def ask(self, call: Call, *, keeps: bool = False) -> Answer:
        """Raises `RuntimeError` for any status but 2xx."""
        self._head, self._kept = b"", [] if keeps else None
        self._is_head_only = call.method == "HEAD"
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.writelines(request_pieces(self._target, call))
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        if self._left == 0:
            self._head += data
            self._head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._begin(self._head.lower())
        self._left -= len(data)
        if self._kept is not None and data:
            self._kept.append(data)
        if self._left == 0:
            self._end()

    def _begin(self, head: bytes) -> None:
        _, _, rest = head.partition(b"\r\ncontent-length:")
        self._left = 0 if self._is_head_only or not rest else int(rest.partition(b"\r\n")[0])
        self._is_well = head[9:10] == b"2"
        if not self._is_well:
            self._kept = []

    def _end(self) -> None:
        assert self._answer is not None
        body = b"".join(self._kept or ())
        if self._is_well:
            self._answer.set_result(Answer(self._head, body))
        else:
            self._answer.set_exception(RuntimeError(f"{self._head[:40]!r} {body[:300]!r}"))


Work = Callable[[Connection], Awaitable[int]]  # → keys that answers listed


class Outcome(NamedTuple):
    latencies_s: list[float]
    keys: int
    started_s: float  # CLOCK_MONOTONIC, shared by all processes
    ended_s: float


async def _connection(target: Target, work: Work, until_s: float, latencies: list[float]) -> int:
    connection = await Connection(target).open()
    keys = 0
    while time.monotonic() < until_s:
        start = time.perf_counter()
        keys += await work(connection)
        latencies.append(time.perf_counter() - start)
    connection.close()
    return keys


async def _run(target: Target, connections: int, seconds: float, work: Work) -> Outcome:
    latencies: list[float] = []
    started = time.monotonic()
    until = started + seconds
    keys = await asyncio.gather(*(_connection(target, work, until, latencies) for _ in range(connections)))
    return Outcome(latencies, sum(keys), started, time.monotonic())


def run(target: Target, connections: int, seconds: float, work: Work) -> Outcome:
    import uvloop  # noqa: PLC0415 - the parent process does not need it

    return uvloop.run(_run(target, connections, seconds, work))


def calls(next_call: Callable[[], Call]) -> Work:
    """One request each."""

    async def work(connection: Connection) -> int:
        await connection.ask(next_call())
        return 0

    return work


def call_once(target: Target, call: Call) -> bytes:
    async def once() -> bytes:
        connection = await Connection(target).open()
        try:
            return (await connection.ask(call, keeps=True)).body
        finally:
            connection.close()

    return asyncio.run(once())


def query(**fields: str) -> str:
    """As it is signed."""
    return urlencode(sorted((name.replace("_", "-"), value) for name, value in fields.items()), quote_via=quote)
