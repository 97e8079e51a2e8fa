"""A client that does not read its answer: it is ended within its bound, what it held is freed, and nobody else notices."""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from bucketlog.http1 import unread
from bucketlog.http1.unread import BYTES_MIN, PERIOD_S, UnreadWatch
from gateway.app import _stream
from gateway.tally import IS_GONE
from tests.bucketlog.http1.serving import served
from tests.virtual import run

PIECE = bytes(1 << 20)


class Transport:
    """With so many bytes that wait to be sent."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def get_extra_info(self, name: str) -> socket.socket:
        """One that is connected to nothing, and holds nothing."""
        with socket.socket() as closed:
            return closed

    def abort(self) -> None:
        self.is_aborted = True


def watched(waiting: int) -> tuple[Transport, UnreadWatch]:
    transport = Transport(waiting)
    watch = UnreadWatch(transport, asyncio.get_running_loop())
    watch.begin()
    return transport, watch


def test_who_takes_nothing_is_ended_after_a_period() -> None:
    async def case() -> None:
        for waiting in (1, 60_000, 5 << 20):
            transport, _ = watched(waiting)
            await asyncio.sleep(PERIOD_S - 1)
            assert not transport.is_aborted
            await asyncio.sleep(2)
            assert transport.is_aborted

    run(case())


def test_who_takes_a_little_goes_on_and_who_stops_then_is_ended() -> None:
    async def case() -> None:
        transport, _ = watched(10 * BYTES_MIN)
        for _ in range(9):
            transport.waiting -= BYTES_MIN
            await asyncio.sleep(PERIOD_S)
        assert not transport.is_aborted
        await asyncio.sleep(2 * PERIOD_S + 1)
        assert transport.is_aborted

    run(case())


def test_a_byte_now_and_then_is_not_enough() -> None:
    async def case() -> None:
        transport, _ = watched(1 << 20)
        for _ in range(40):
            transport.waiting -= 1
            await asyncio.sleep(1)
        assert transport.is_aborted

    run(case())


def test_who_has_taken_all_is_left_alone() -> None:
    async def case() -> None:
        taken, watch = watched(1000)
        taken.waiting = 0
        ended, other = watched(1000)
        other.end()
        await asyncio.sleep(3 * PERIOD_S)
        assert not taken.is_aborted
        assert not ended.is_aborted
        taken.waiting = 1000
        watch.begin()  # another answer
        await asyncio.sleep(PERIOD_S + 1)
        assert taken.is_aborted

    run(case())


async def asked(port: int, path: bytes) -> socket.socket:
    """A connection that has asked and reads nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    await asyncio.get_running_loop().sock_sendall(client, b"GET %s HTTP/1.1\r\nhost: x\r\n\r\n" % path)
    return client


@pytest.mark.parametrize("pieces", [0, 10_000])
def test_a_reader_that_never_reads_holds_nothing_for_long(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether all of its answer was written, or most of it waits."""
    monkeypatch.setattr(unread, "PERIOD_S", 0.2)
    ended = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/other":
            await send({"type": "http.response.body", "body": b"well"})
            return
        is_gone = scope["state"][IS_GONE]
        for _ in range(pieces):
            await send({"type": "http.response.body", "body": PIECE, "more_body": True})
            if is_gone():
                ended.set()
                return
        await send({"type": "http.response.body", "body": 8 * PIECE})
        for _ in range(2000):
            if is_gone():
                ended.set()
                return
            await asyncio.sleep(0.01)

    async def case() -> None:
        async with served(app) as port:
            stuck = await asked(port, b"/")
            while not ended.is_set():
                other = await asked(port, b"/other")
                assert (await asyncio.wait_for(asyncio.get_running_loop().sock_recv(other, 1000), 5)).startswith(
                    b"HTTP/1.1 200"
                )
                other.close()
                async with asyncio.timeout(20):
                    await asyncio.sleep(0.01)
            stuck.close()

    asyncio.run(asyncio.wait_for(case(), 30))


def test_a_slow_reader_gets_all_though_the_transport_stands_still_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "PERIOD_S", 0.5)
    size = 8 * len(PIECE)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(size)})

    async def case() -> int:
        got = 0
        async with served(app) as port:
            reader = await asked(port, b"/")
            loop, started_s = asyncio.get_running_loop(), asyncio.get_running_loop().time()
            while data := await loop.sock_recv(reader, 4 << 10 if loop.time() < started_s + 3 else 1 << 20):
                got += len(data)
                if loop.time() < started_s + 3:
                    await asyncio.sleep(0.02)
            reader.close()
        return got

    assert asyncio.run(asyncio.wait_for(case(), 30)) >= size


def test_an_answer_is_not_read_on_for_a_client_that_is_gone() -> None:
    read: list[int] = []
    sent: list[Any] = []

    async def body() -> AsyncIterator[bytes]:
        for number in range(100):
            read.append(number)
            yield b"x"

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"state": {IS_GONE: lambda: len(sent) >= 3}}
    assert asyncio.run(_stream(body(), send, scope)) == 3
    assert len(read) == 4
