"""What a data node refuses over HTTP, and what a broken-off request leaves behind."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession
from starlette.types import Message, Receive, Scope, Send

from datanode.api import create_node_app
from datanode.node import BlobRef, BlobUnavailable, Piece, TooFewCopies
from datanode.remote import RemoteNode
from tests.datanode.nodes import SECRET, Parts, node_parts, put, served
from tests.datanode.peers import Peer
from topics.secret import SKEW_S_MAX, ClusterSecret

NOW = 1_800_000_000
PATH = f"/groups/0/blobs/{1:032x}"
REF = BlobRef(0, bytes.fromhex(f"{1:032x}"), 3)


def run(folder: Path, case: Callable[[Parts, str], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with node_parts(folder) as parts:
            app = create_node_app(parts.node, SECRET, lambda: NOW)
            async with served(app) as endpoint:
                await case(parts, endpoint)

    asyncio.run(whole())


def signed(method: str, target: str, length: str = "", range_: str = "", now_s: int = NOW) -> dict[str, str]:
    return {"authorization": SECRET.sign(method, target, length, range_, now_s)}


GET = {"range": "bytes=0-4"}
REFUSED: list[tuple[str, str, dict[str, str], int]] = [
    ("GET", PATH, GET, 401),
    ("GET", PATH, GET | {"authorization": "Basic abc"}, 401),
    ("GET", PATH, GET | signed("PUT", PATH, range_="bytes=0-4"), 401),
    ("GET", f"{PATH}?position=1", GET | signed("GET", PATH, range_="bytes=0-4"), 401),
    ("GET", PATH, GET | signed("GET", PATH, range_="bytes=0-5"), 401),
    ("GET", PATH, GET | signed("GET", PATH, range_="bytes=0-4", now_s=NOW - SKEW_S_MAX - 1), 401),
    ("GET", PATH, GET | signed("GET", PATH, range_="bytes=0-4", now_s=NOW + SKEW_S_MAX + 1), 401),
    ("GET", PATH, GET | signed("GET", PATH, range_="bytes=0-4"), 404),
    ("GET", "/groups/0/blobs/xyz", GET | signed("GET", "/groups/0/blobs/xyz", range_="bytes=0-4"), 404),
    ("GET", PATH, signed("GET", PATH), 416),
    ("GET", PATH, {"range": "bytes=5-4"} | signed("GET", PATH, range_="bytes=5-4"), 416),
    ("GET", PATH, {"range": "bytes=0-99999999"} | signed("GET", PATH, range_="bytes=0-99999999"), 416),
    ("GET", f"{PATH}?position=x", GET | signed("GET", f"{PATH}?position=x", range_="bytes=0-4"), 416),
    ("GET", "/groups/64/blobs", signed("GET", "/groups/64/blobs"), 404),
    ("PUT", f"{PATH}?partition=256", signed("PUT", f"{PATH}?partition=256", "0"), 416),
    ("PUT", PATH, signed("PUT", PATH, "5"), 401),  # the length is signed, and none was sent
    ("GET", "/groups/0/blobs", {}, 401),
    ("GET", "/groups/0/blobs?after=x", signed("GET", "/groups/0/blobs?after=x"), 416),
    ("GET", "/groups/0/blobs?position=x", signed("GET", "/groups/0/blobs?position=x"), 416),
    ("GET", "/groups/1/blobs", signed("GET", "/groups/1/blobs"), 503),  # it does not hold it
    ("DELETE", PATH, signed("DELETE", PATH), 405),
]


def test_refuses(tmp_path: Path) -> None:
    async def case(_: Parts, endpoint: str) -> None:
        async with ClientSession(endpoint) as session:
            for method, target, headers, status in REFUSED:
                async with session.request(method, target, headers=headers) as answer:
                    assert (answer.status, method, target, headers) == (status, method, target, headers)

    run(tmp_path, case)


def test_refuses_a_payload_without_a_length(tmp_path: Path) -> None:
    async def case(_: Parts, endpoint: str) -> None:
        reader, writer = await asyncio.open_connection(*endpoint.removeprefix("http://").split(":"))
        authorization = signed("PUT", PATH)["authorization"]
        head = f"PUT {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head.encode() + b"1\r\na\r\n0\r\n\r\n")
        assert (await reader.readline()).split()[1] == b"411"
        writer.close()

    run(tmp_path, case)


def test_a_payload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    async def case(parts: Parts, endpoint: str) -> None:
        _, writer = await asyncio.open_connection(*endpoint.removeprefix("http://").split(":"))
        authorization = signed("PUT", PATH, "1000000")["authorization"]
        head = f"PUT {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ncontent-length: 1000000\r\n\r\n"
        writer.write(head.encode() + bytes(500_000))
        await writer.drain()
        while not parts.store.is_arriving(0, REF.blob):  # noqa: ASYNC110 - the store tells it by nothing else
            await asyncio.sleep(0)
        writer.close()
        while parts.store.is_arriving(0, REF.blob):  # noqa: ASYNC110
            await asyncio.sleep(0)
        async with RemoteNode(endpoint, SECRET, lambda: NOW) as node:
            again = await node.create(REF, 3, leads=False)  # the same id, so that a blob left behind would show
            await again.write(b"abc")
            await again.commit()
            assert await node.read(REF, 0, 3, -1) == b"abc"

    run(tmp_path, case)


def test_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    async def case(parts: Parts, endpoint: str) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        parts.store.create = full  # type: ignore[assignment]
        async with RemoteNode(endpoint, SECRET, lambda: NOW) as node:
            writer = await node.create(REF, 3, leads=False)
            await writer.write(b"abc")
            with pytest.raises(OSError, match="No space left"):
                await writer.commit()
            await writer.abort()

    run(tmp_path, case)


def test_another_clusters_secret_is_refused(tmp_path: Path) -> None:
    async def case(_: Parts, endpoint: str) -> None:
        async with RemoteNode(endpoint, ClusterSecret(b"the secret of another"), lambda: NOW) as node:
            with pytest.raises(OSError, match="not signed with this cluster's secret"):
                await node.read(REF, 0, 1, -1)
            writer = await node.create(REF, 10_000_000, leads=False)
            with pytest.raises(OSError, match="not signed"):
                for piece in [bytes(1_000_000)] * 10:
                    await writer.write(piece)
                await writer.commit()
            await writer.abort()

    run(tmp_path, case)


def test_a_node_that_is_gone() -> None:
    async def case() -> None:
        async with RemoteNode("http://127.0.0.1:9", SECRET) as node:
            with pytest.raises(OSError, match="cannot be reached"):
                await node.read(REF, 0, 1, -1)
            writer = await node.create(REF, 3, leads=False)
            with pytest.raises(OSError, match="cannot be reached"):
                await writer.write(b"abc")
                await writer.commit()
            await writer.abort()

    asyncio.run(case())


def test_a_secret_is_long_and_never_shown() -> None:
    with pytest.raises(ValueError, match="at least"):
        ClusterSecret(b"short")
    assert "secret of a test" not in repr(SECRET)


@pytest.mark.parametrize("changed", ["a bit", "the end"])
def test_bytes_that_are_damaged_on_their_way_are_not_taken(changed: str, tmp_path: Path) -> None:
    async def case() -> None:
        async with node_parts(tmp_path) as parts:
            app = create_node_app(parts.node, SECRET, lambda: NOW)

            async def damaging(scope: Scope, receive: Receive, send: Send) -> None:
                async def changing(message: Message) -> None:
                    if message["type"] == "http.response.start" and changed == "the end":
                        message["headers"] = [each for each in message["headers"] if each[0] != b"content-length"]
                    if message.get("body") == b"abc":
                        message["body"] = b"abb" if changed == "a bit" else b"ab"
                    await send(message)

                await app(scope, receive, changing)

            await put(parts.node, REF, b"abc")
            async with served(damaging) as endpoint, RemoteNode(endpoint, SECRET, lambda: NOW) as node:
                with pytest.raises(OSError, match="damaged on its way"):
                    await node.read(REF, 0, 3, -1)

    asyncio.run(case())


REFUSED_WORK: list[tuple[str, str, type[Exception], str]] = [
    ("read", "dead", OSError, "p is gone"),
    ("read", "late", OSError, "it may still come"),
    ("read", "damaged", BlobUnavailable, "not on p"),
    ("blobs", "dead", OSError, "p is gone"),
    ("create", "dead", OSError, "p is gone"),
    ("lead", "without q and r", TooFewCopies, "only 1 of 2 copies"),
]


@pytest.mark.parametrize(("work", "trouble", "kind", "why"), REFUSED_WORK)
def test_what_a_node_cannot_do_is_told_with_its_reason(work: str, trouble: str, kind: type[Exception], why: str) -> None:
    async def case() -> None:
        peer = Peer("p")
        peer.has(REF, b"abc")
        peer.is_dead = trouble == "dead"
        peer.without = ["q", "r"] if trouble == "without q and r" else []
        peer.late, peer.damaged = ({REF.blob} if trouble == each else set() for each in ("late", "damaged"))
        async with (
            served(create_node_app(peer, SECRET, lambda: NOW)) as endpoint,
            RemoteNode(endpoint, SECRET, lambda: NOW) as node,
        ):
            with pytest.raises(kind, match=why) as failure:
                if work == "read":
                    await node.read(REF, 0, 3, -1)
                elif work == "blobs":
                    await node.blobs(0, b"", 0)
                else:
                    await put(node, REF, b"abc", leads=work == "lead")
            if isinstance(failure.value, TooFewCopies):
                assert failure.value.without == ["q", "r"]

    asyncio.run(case())


@pytest.mark.parametrize("off_s", [-3_600, 0, 3_600])
def test_a_clock_that_is_off_costs_no_request_but_the_first_write(off_s: int, tmp_path: Path) -> None:
    async def case() -> None:
        async with node_parts(tmp_path) as parts:
            app = create_node_app(parts.node, SECRET, lambda: NOW)
            async with served(app) as endpoint, RemoteNode(endpoint, SECRET, lambda: NOW + off_s) as node:
                if off_s:
                    with pytest.raises(OSError, match="a clock is wrong"):
                        await put(node, REF, b"abc")
                await put(node, REF, b"abc")
            async with served(app) as endpoint, RemoteNode(endpoint, SECRET, lambda: NOW + off_s) as node:
                assert await node.read(REF, 0, 3, -1) == b"abc"
                assert await node.pieces(0, [Piece(REF.blob, 0, 3)], -1) == [b"abc"]

    asyncio.run(case())


def test_another_secret_is_refused_whatever_the_clock(tmp_path: Path) -> None:
    async def case() -> None:
        async with node_parts(tmp_path) as parts:
            app = create_node_app(parts.node, SECRET, lambda: NOW)
            other = ClusterSecret(b"a secret of another cluster")
            async with served(app) as endpoint, RemoteNode(endpoint, other, lambda: NOW + 3_600) as node:
                with pytest.raises(OSError, match="not signed"):
                    await node.read(REF, 0, 3, -1)

    asyncio.run(case())
