"""The head of an answer goes with its first bytes, or alone where none follow at once; all of it in order."""

import asyncio

from bucketlog.answer import JOINED_BYTES_MAX, AnswerTransport


class Wire:
    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.packets.append(data)

    def close(self) -> None:
        self.packets.append(b"closed")

    def is_closing(self) -> bool:
        return b"closed" in self.packets


def begun() -> tuple[Wire, AnswerTransport]:
    wire = Wire()
    return wire, AnswerTransport(wire, asyncio.get_running_loop())


def test_a_small_body_goes_with_its_head() -> None:
    async def case() -> None:
        wire, answer = begun()
        answer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        answer.write(b"body")
        answer.write(b" and more")
        await asyncio.sleep(0)
        assert wire.packets == [b"HTTP/1.1 200 OK\r\n\r\nbody", b" and more"]

    asyncio.run(case())


def test_a_large_body_is_not_copied() -> None:
    async def case() -> None:
        wire, answer = begun()
        large = bytes(JOINED_BYTES_MAX + 1)
        answer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        answer.write(large)
        assert wire.packets[0] == b"HTTP/1.1 200 OK\r\n\r\n"
        assert wire.packets[1] is large

    asyncio.run(case())


def test_a_head_without_a_body_waits_for_nothing() -> None:
    async def case() -> None:
        wire, answer = begun()
        answer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await asyncio.sleep(0)
        assert wire.packets == [b"HTTP/1.1 204 No Content\r\n\r\n"]
        answer.write(b"late")
        assert wire.packets[1:] == [b"late"]

    asyncio.run(case())


def test_a_head_is_not_lost_where_the_connection_is_closed_at_once() -> None:
    async def case() -> None:
        wire, answer = begun()
        answer.write(b"HTTP/1.1 304 Not Modified\r\n\r\n")
        answer.close()
        await asyncio.sleep(0)
        assert wire.packets == [b"HTTP/1.1 304 Not Modified\r\n\r\n", b"closed"]
        assert answer.is_closing()

    asyncio.run(case())


def test_who_waits_to_send_is_told_to_go_on_at_once() -> None:
    async def case() -> None:
        wire, answer = begun()
        answer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert wire.packets == [b"HTTP/1.1 100 Continue\r\n\r\n"]
        answer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        answer.write(b"body")
        assert wire.packets[1:] == [b"HTTP/1.1 200 OK\r\n\r\nbody"]

    asyncio.run(case())
