"""What a connection makes of the bytes that come, however they are cut."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from bucketlog.http1 import connection
from tests.bucketlog.http1.serving import served

Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """What it was asked, in JSON. Of /early it does not wait for the body."""
    got, pieces = b"", 0
    while scope["path"] != "/early":
        message = await receive()
        if message["type"] != "http.request":
            return
        got, pieces = got + message["body"], pieces + 1
        if not message["more_body"]:
            break
    said = {
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode(),
        "headers": [name.decode() for name, _ in scope["headers"]],
        "body": len(got),
        "sum": sum(got),
        "pieces": pieces,
    }
    body = json.dumps(said).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, Any]:
    """Head and what the body says."""
    head = await reader.readuntil(b"\r\n\r\n")
    fields = dict(line.split(b": ", 1) for line in head.splitlines()[1:] if line)
    body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
    return head, json.loads(body) if b" 200 " in head[:20] else body


def asked(client: Client) -> Any:
    async def case() -> Any:
        async with served(echo) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                return await client(reader, writer)
            finally:
                writer.close()

    return asyncio.run(asyncio.wait_for(case(), 30))


def test_requests_that_come_at_once_are_answered_in_order() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(100):
            writer.write(b"PUT /%d HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc" % number)
        for number in range(100):
            _, said = await answer(reader)
            assert (said["path"], said["body"]) == (f"/{number}", 3)

    asked(client)


@pytest.mark.parametrize("size", [1, 65_536, 3_000_000])
@pytest.mark.parametrize("cut", [7, 50_000])
def test_a_body_is_whole_wherever_it_is_cut(size: int, cut: int) -> None:
    """And so is the next request, though it comes with the body's last bytes."""
    data = bytes(range(1, 251)) * (size // 250 + 1)
    request = b"PUT /a HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size + data[:size]

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        both = request + b"GET /b?c=d%20e HTTP/1.1\r\nhost: x\r\n\r\n"
        first = both[:cut]
        writer.write(first)
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(both[cut:])
        _, said = await answer(reader)
        assert (said["method"], said["path"], said["body"], said["sum"]) == ("PUT", "/a", size, sum(data[:size]))
        _, said = await answer(reader)
        assert (said["method"], said["path"], said["query"], said["body"]) == ("GET", "/b", "c=d%20e", 0)

    asked(client)


def test_a_chunked_body_is_read() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"PUT /%C3%A4 HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"1\r\n!\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n")
        _, said = await answer(reader)
        assert (said["path"], said["body"]) == ("/ä", 6)
        assert (await answer(reader))[1]["path"] == "/"

    asked(client)


@pytest.mark.parametrize(
    "bad",
    [
        b"content-length: 1\r\ncontent-length: 2",
        b"content-length: +1",
        b"content-length: 99999999999999999999999999",
        b"content-length: 1\r\ntransfer-encoding: chunked",
        b"a b: c",
        b"a: b\0c",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(bad: bytes) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"PUT / HTTP/1.1\r\nhost: x\r\n" + bad + b"\r\n\r\n")
        head, _ = await answer(reader)
        assert head.startswith(b"HTTP/1.1 400 ")
        assert await reader.read() == b""

    asked(client)


def test_an_offer_to_speak_another_protocol_is_passed_over() -> None:
    """As Java's HttpClient makes it with each request."""
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\n" + offer + b"\r\n")
            assert (await answer(reader))[1]["path"] == "/a"
            writer.write(b"PUT /b HTTP/1.1\r\nhost: x\r\n" + offer + b"content-length: 3\r\n\r\nabc")
            assert (await answer(reader))[1]["body"] == 3
            writer.write(b"PUT /c HTTP/1.1\r\nhost: x\r\n" + offer + b"content-length: 3\r\n\r\na")
            await asyncio.sleep(0.05)
            writer.write(b"bc")
            assert (await answer(reader))[1]["body"] == 3
        writer.write(b"PUT /d HTTP/1.1\r\nhost: x\r\n" + offer + b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")
        assert (await answer(reader))[0].startswith(b"HTTP/1.1 400 ")

    asked(client)


def test_what_comes_after_the_last_request_is_passed_over() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\nGET /b HTTP/1.1\r\nhost: x\r\n\r\n")
        head, said = await answer(reader)
        assert said["path"] == "/a"
        assert b"connection: close" in head
        assert await reader.read() == b""

    asked(client)


def test_a_request_of_version_1_0_is_the_last() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET http://elsewhere/a?b HTTP/1.0\r\nconnection: keep-alive\r\n\r\n")
        _, said = await answer(reader)
        assert (said["path"], said["query"]) == ("/a", "b")
        assert await reader.read() == b""

    asked(client)


def test_who_is_answered_early_reads_the_answer_though_it_sends_on() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"PUT /early HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n")
        for _ in range(50):
            writer.write(bytes(100_000))
            await asyncio.sleep(0)
        head, said = await answer(reader)
        assert said["path"] == "/early"
        assert b"connection: close" in head
        assert await reader.read() == b""

    asked(client)


def test_a_head_that_comes_with_a_large_body_before_it_is_no_large_head() -> None:
    size = 2 * connection.HEAD_BYTES_MAX

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"PUT /a HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size + bytes(size) + b"GET /b HTTP/1.1\r\n"
        )
        assert (await answer(reader))[1]["body"] == size
        writer.write(b"host: x\r\n\r\n")
        assert (await answer(reader))[1]["path"] == "/b"

    asked(client)


def test_a_connection_without_a_request_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty lines are no request."""
    monkeypatch.setattr(connection, "IDLE_S_MAX", 0.3)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await answer(reader)
            await asyncio.sleep(0.2)
        ended = asyncio.create_task(reader.read())
        for _ in range(20):
            if ended.done():
                break
            writer.write(b"\r\n")
            await asyncio.sleep(0.1)
        assert ended.done()

    asked(client)


def test_what_is_no_request_does_not_break_the_answer_before_it() -> None:
    """Its client learns by the end of the connection."""
    begun = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        begun.set()
        await receive()
        await receive()

    async def case() -> bytes:
        async with served(slow) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            await begun.wait()
            writer.write(b"\0\0\0\r\n\r\n")
            try:
                return await reader.read()
            finally:
                writer.close()

    assert b" 400 " not in asyncio.run(asyncio.wait_for(case(), 30))
