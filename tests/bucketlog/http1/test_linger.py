"""A connection that ends while its client still sends: the client reads the answer, and cannot go on for ever."""

import asyncio
import http.client
import socket
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from bucketlog.http1.linger import IDLE_S_MAX, S_MAX, Linger
from tests.server import Server
from tests.virtual import run


class Transport:
    """Remembers what was asked of it."""

    def __init__(self, *, can_write_eof: bool = True) -> None:
        self.done: list[str] = []
        self.can_write_eof = lambda: can_write_eof
        self.write_eof, self.resume_reading, self.close = map(self._noted, ("eof", "read", "close"))

    def _noted(self, what: str) -> Callable[[], None]:
        return lambda: self.done.append(what)


def made(transport: Transport) -> Linger:
    return Linger(cast(asyncio.Transport, transport), asyncio.get_running_loop())


def test_who_still_sends_is_listened_to_until_it_is_silent() -> None:
    async def case() -> None:
        transport = Transport()
        linger = made(transport)
        linger.begin()
        assert transport.done == ["eof", "read"]
        for _ in range(4):
            await asyncio.sleep(IDLE_S_MAX - 1)
            linger.drop(b"more")
        assert "close" not in transport.done
        await asyncio.sleep(IDLE_S_MAX + 1)
        assert transport.done[-1] == "close"

    run(case())


def test_nobody_is_listened_to_for_ever() -> None:
    async def case() -> None:
        transport, other = Transport(), Transport(can_write_eof=False)
        slow, fast = made(transport), made(other)
        slow.begin()
        fast.begin(100)
        assert other.done == ["read"]
        fast.drop(bytes(100))
        assert "close" not in other.done
        fast.drop(b"!")
        assert other.done[-1] == "close"
        for _ in range(int(S_MAX)):
            await asyncio.sleep(1)
            slow.drop(b"x")
        await asyncio.sleep(0.1)
        assert transport.done[-1] == "close"

    run(case())


def refused_url(server: Server) -> Any:
    params = {"Bucket": "no-such-bucket", "Key": "k"}
    return urlsplit(server.client().generate_presigned_url("put_object", Params=params))


@pytest.mark.parametrize("size", [100_000, 4 << 20, 40 << 20])
def test_the_client_of_a_refused_upload_reads_why(server: Server, size: int) -> None:
    """Python's client reads nothing before it has sent all: had the socket been closed, it would see a reset."""
    url = refused_url(server)
    for _ in range(5):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("PUT", f"{url.path}?{url.query}", bytes(size))
        answer = connection.getresponse()
        assert (answer.status, b"<Code>NoSuchBucket</Code>" in answer.read()) == (404, True)
        connection.close()


def test_the_answer_and_its_end_come_at_once(server: Server) -> None:
    url = refused_url(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=3) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + bytes(1000))
        answer = b""
        while data := connection.recv(65_536):  # to its end, though we have not closed
            answer += data
        assert answer.startswith(b"HTTP/1.1 404 ")
        connection.sendall(bytes(100_000))  # and it may still be sent to


def test_what_is_no_http_is_told_so_though_more_comes(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=3) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n" + bytes(100_000))
        answer = b""
        while data := connection.recv(65_536):
            answer += data
        assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_connection_that_lingers_does_not_hold_a_stop(tmp_path: Any) -> None:
    server = Server(tmp_path / "data").start()
    url = refused_url(server)
    with socket.create_connection(("127.0.0.1", server.port), timeout=3) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404 ")
        assert server.stop() == 0
