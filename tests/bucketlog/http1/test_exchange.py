"""One request and its answer: what the application reads, what it writes, and in how many packets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send

from bucketlog.http1.exchange import JOINED_BYTES_MAX, WAITING_BYTES_MAX, Exchange
from tests.virtual import run

Say = Callable[[Receive, Send], Awaitable[None]]


class Carrier:
    """A connection that remembers what was asked of it."""

    def __init__(self) -> None:
        self.transport = cast(asyncio.Transport, self)
        self.loop = asyncio.get_running_loop()
        self.writable: asyncio.Future[None] | None = None
        self.packets: list[bytes] = []
        self.done: list[str] = []

    def write(self, data: bytes) -> None:
        self.packets.append(data)

    def writelines(self, data: tuple[bytes, ...]) -> None:
        self.packets += data

    def is_closing(self) -> bool:
        return "close" in self.done

    def close(self) -> None:
        self.done.append("close")

    def abort(self) -> None:
        self.done.append("abort")

    def pause_reading(self) -> None:
        self.done.append("pause")

    def resume_reading(self) -> None:
        self.done.append("resume")

    def answered(self, exchange: Exchange) -> None:
        self.done.append("last" if exchange.is_last else "answered")

    def end(self, exchange: Exchange) -> None:
        self.done.append("end")

    @property
    def sent(self) -> bytes:
        return b"".join(line for packet in self.packets for line in packet.splitlines(True) if line[:6] != b"date: ")


def begun(
    method: str = "GET", *, version: str = "1.1", is_received: bool = True, waits: bool = False
) -> tuple[Carrier, Exchange]:
    carrier = Carrier()
    scope = {"method": method, "http_version": version}
    exchange = Exchange(carrier, scope, is_last=False, awaits_continue=waits)
    if is_received:
        exchange.end_body()
    return carrier, exchange


def start(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", str(size).encode()


def test_a_small_body_goes_with_its_head() -> None:
    async def case() -> None:
        carrier, exchange = begun()
        await exchange.send(start(length(13)))
        await exchange.send(body(b"body", more=True))
        await exchange.send(body(b" and more"))
        assert len(carrier.packets) == 2
        assert carrier.sent == b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nbody and more"
        assert carrier.done == ["answered"]

    run(case())


def test_a_large_body_is_not_copied() -> None:
    async def case() -> None:
        carrier, exchange = begun()
        large = bytes(JOINED_BYTES_MAX + 1)
        await exchange.send(start(length(len(large))))
        await exchange.send(body(large))
        assert carrier.packets[1] is large

    run(case())


def test_a_head_without_a_body_waits_for_nothing() -> None:
    async def case() -> None:
        carrier, exchange = begun()
        await exchange.send(start(length(4)))
        await asyncio.sleep(0)
        assert carrier.sent.endswith(b"\r\n\r\n")
        await exchange.send(body(b"late"))
        assert carrier.packets[1:] == [b"late"]

    run(case())


def test_an_answer_of_unknown_length_goes_in_chunks() -> None:
    async def case() -> None:
        carrier, exchange = begun()
        await exchange.send(start())
        for message in (body(b"0123456789", more=True), body(b"", more=True), body(b"a")):
            await exchange.send(message)
        head, _, chunks = carrier.sent.partition(b"\r\n\r\n")
        assert head == b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked"
        assert chunks == b"a\r\n0123456789\r\n1\r\na\r\n0\r\n\r\n"

    run(case())


def test_of_version_1_0_the_end_of_the_connection_is_the_end() -> None:
    async def case() -> None:
        carrier, exchange = begun(version="1.0")
        await exchange.send(start())
        await exchange.send(body(b"all"))
        assert carrier.sent == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall"
        assert carrier.done == ["last"]

    run(case())


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_some_answers_have_no_body(method: str, status: int) -> None:
    async def case() -> None:
        carrier, exchange = begun(method)
        fields = [length(1000)] if method == "HEAD" else []
        await exchange.send(start(*fields, status=status))
        await exchange.send(body(b"x" * 1000 if method == "HEAD" else b""))
        assert carrier.sent.endswith(b"\r\n\r\n")
        assert carrier.done == ["answered"]

    run(case())


def test_an_answer_before_all_of_the_request_is_the_last() -> None:
    async def case() -> None:
        carrier, exchange = begun("PUT", is_received=False)
        await exchange.send(start(length(0)))
        await exchange.send(body())
        assert b"connection: close\r\n" in carrier.sent
        assert carrier.done == ["last"]
        exchange.take(b"what still comes")
        assert await exchange.receive() == {"type": "http.disconnect"}

    run(case())


@pytest.mark.parametrize(
    "field", [(b"x-amz-meta-a", b"1\r\nset-cookie: a"), (b"x", b"\n"), (b"x\r", b"1"), (b"x", b"\0"), (b"x", b"\x7f")]
)
def test_a_header_cannot_hold_another(field: tuple[bytes, bytes]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start(field))

    async def case() -> None:
        carrier, exchange = begun()
        await exchange.run(app)
        assert carrier.sent == b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        assert carrier.done == ["last", "end"]

    run(case())


async def ends(receive: Receive, send: Send) -> None:
    pass


async def fails(receive: Receive, send: Send) -> None:
    raise ValueError


async def breaks_off(receive: Receive, send: Send) -> None:
    await send(start(length(10)))
    await send(body(b"12345", more=True))


async def says_too_little(receive: Receive, send: Send) -> None:
    await send(start(length(10)))
    await send(body(b"12345"))


async def says_too_much(receive: Receive, send: Send) -> None:
    await send(start(length(4)))
    await send(body(b"12345"))


@pytest.mark.parametrize("say", [ends, fails])
def test_who_fails_before_an_answer_gives_an_error(say: Say) -> None:
    async def case() -> None:
        carrier, exchange = begun()
        await exchange.run(lambda scope, receive, send: say(receive, send))
        assert carrier.sent.startswith(b"HTTP/1.1 500 ")
        assert carrier.done == ["last", "end"]

    run(case())


@pytest.mark.parametrize("say", [breaks_off, says_too_little, says_too_much])
def test_an_answer_that_is_not_whole_shows_as_one(say: Say) -> None:
    async def case() -> None:
        carrier, exchange = begun()
        await exchange.run(lambda scope, receive, send: say(receive, send))
        assert carrier.done == ["abort", "end"]

    run(case())


def test_a_body_is_read_as_it_came_and_then_there_is_only_the_end() -> None:
    async def case() -> None:
        carrier, exchange = begun("PUT", is_received=False)
        pieces = [b"one", bytes(100_000)]
        for piece in pieces:
            exchange.take(piece)
        for piece in pieces:
            message = await exchange.receive()
            assert message["body"] is piece
            assert message["more_body"]
        last = asyncio.create_task(exchange.receive())
        await asyncio.sleep(1)
        exchange.end_body()
        assert await last == {"type": "http.request", "body": b"", "more_body": False}
        gone = asyncio.create_task(exchange.receive())
        await asyncio.sleep(1)
        assert not gone.done()
        exchange.leave()
        assert await gone == {"type": "http.disconnect"}
        await exchange.send(start())  # to nobody
        assert carrier.packets == []

    run(case())


def test_the_last_piece_says_that_it_is() -> None:
    async def case() -> None:
        _, exchange = begun("PUT", is_received=False)
        exchange.take(b"all")
        exchange.end_body()
        assert await exchange.receive() == {"type": "http.request", "body": b"all", "more_body": False}

    run(case())


@pytest.mark.parametrize("size", [1, 10_000])
def test_a_body_that_is_not_read_is_held_back(size: int) -> None:
    async def case() -> None:
        carrier, exchange = begun("PUT", is_received=False)
        while "pause" not in carrier.done:
            exchange.take(bytes(size))
        assert exchange.received_bytes <= WAITING_BYTES_MAX + size
        while exchange.received_bytes and not carrier.done.count("resume"):
            receiving = asyncio.create_task(exchange.receive())
            await asyncio.sleep(0)
            if not receiving.done():
                receiving.cancel()
        assert carrier.done[-1] == "resume"

    run(case())


def test_who_waits_to_send_is_told_to_go_on_when_its_body_is_wanted() -> None:
    async def case() -> None:
        carrier, exchange = begun("PUT", is_received=False, waits=True)
        assert carrier.packets == []
        reading = asyncio.create_task(exchange.receive())
        await asyncio.sleep(0)
        assert carrier.packets == [b"HTTP/1.1 100 Continue\r\n\r\n"]
        exchange.take(b"x")
        exchange.end_body()
        assert (await reading)["body"] == b"x"

    run(case())


def test_what_is_written_waits_for_who_reads_slowly() -> None:
    async def case() -> None:
        carrier, exchange = begun()
        await exchange.send(start(length(2)))
        await exchange.send(body(b"a", more=True))
        carrier.writable = asyncio.get_running_loop().create_future()
        sending = asyncio.create_task(exchange.send(body(b"b")))
        await asyncio.sleep(1)
        assert not sending.done()
        writable, carrier.writable = carrier.writable, None
        writable.set_result(None)
        await sending
        assert carrier.packets[1:] == [b"b"]

    run(case())
