"""A data node over HTTP: the client's side of `datanode.api`."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from awscrt.checksums import crc32c

from datanode.api import CRC32C, HOLDERS, TIME, WITHOUT, Given
from datanode.node import QUORUM_S, BlobRef, BlobUnavailable, Piece, TooFewCopies
from datanode.store import BlobExists, Held
from topics import request_id
from topics.secret import ClusterSecret

CONNECTIONS_MAX = 256  # to one node
CHUNKS_MAX = 4  # of a writer, before `write` waits for the network
CLOCKS_APART_S = 30.0  # from what is known, before a request is signed anew by the node's
TIMEOUT = ClientTimeout(total=None, sock_connect=2, sock_read=10)


_pages = msgspec.msgpack.Decoder(list[Held])
_given = msgspec.msgpack.Decoder(list[Given])
_asked = msgspec.msgpack.Encoder()


class RemoteNode:
    """Use as a context: `async with RemoteNode(...) as node`."""

    def __init__(self, endpoint: str, secret: ClusterSecret, now_s: Callable[[], float] = time.time) -> None:
        """`endpoint` is http://host:port."""
        self._endpoint = endpoint
        self._secret = secret
        self._now_s = now_s
        self._ahead_s = 0.0  # of the node's clock, since it refused ours
        self._session = ClientSession(endpoint, timeout=TIMEOUT, connector=TCPConnector(limit=CONNECTIONS_MAX))

    async def __aenter__(self) -> "RemoteNode":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._session.close()

    async def create(self, ref: BlobRef, length: int, *, leads: bool, quorum_s: float = QUORUM_S) -> "RemoteWriter":
        target = f"{_path(ref)}?partition={ref.partition}&leads={int(leads)}&quorum_ms={quorum_s * 1000:.0f}"
        return RemoteWriter(self._session, target, self._headers("PUT", target, length), length, self._learns)

    async def read(self, ref: BlobRef, start: int, size: int, position: int) -> bytes:
        if size <= 0:
            raise ValueError("a read asks for at least one byte")
        known = "" if ref.crc32c is None else f"&crc32c={ref.crc32c:08x}"
        target, range_ = f"{_path(ref)}?position={position}{known}", f"bytes={start}-{start + size - 1}"
        status, data, crc = await self._ask("GET", target, None, range_)
        if status == 416:
            raise ValueError(data.decode().strip())
        if status == 404:
            raise BlobUnavailable(f"{self._endpoint}: {data.decode().strip()}")
        if status != 206:
            raise OSError(f"{self._endpoint} refused: {data.decode().strip()}")
        if crc != f"{crc32c(data):08x}" or len(data) != size:
            raise OSError(f"{self._endpoint}: blob {ref.blob.hex()} was damaged on its way")
        return data

    async def pieces(self, group: int, wanted: Sequence[Piece], position: int) -> list[bytes | Exception]:
        target, body = f"/groups/{group}/pieces?position={position}", _asked.encode(wanted)
        status, data, crc = await self._ask("POST", target, body)
        if status in (404, 405):  # of an earlier release
            return [await self._piece(BlobRef(group, each.blob, 0, each.crc32c), each, position) for each in wanted]
        if status != 200:
            raise OSError(f"{self._endpoint} refused: {data.decode(errors='replace').strip()}")
        if crc != f"{crc32c(data):08x}":
            raise OSError(f"{self._endpoint}: blobs of group {group} were damaged on their way")
        return [self._given(each) for each in _given.decode(data)]

    async def _piece(self, ref: BlobRef, piece: Piece, position: int) -> bytes | Exception:
        try:
            return await self.read(ref, piece.start, piece.size, position)
        except ValueError as error:
            return BlobUnavailable(str(error))
        except (BlobUnavailable, OSError) as error:
            return error

    def _given(self, found: Given) -> bytes | Exception:
        if found.data is not None:
            return found.data
        why = f"{self._endpoint}: {found.why}"
        return OSError(why) if found.may_come else BlobUnavailable(why)

    async def blobs(self, group: int, after: bytes, position: int) -> list[Held]:
        status, data, _ = await self._ask("GET", f"/groups/{group}/blobs?after={after.hex()}&position={position}")
        if status != 200:
            raise OSError(f"{self._endpoint} refused: {data.decode().strip()}")
        return _pages.decode(data)

    async def _ask(self, method: str, target: str, body: bytes | None = None, range_: str = "") -> tuple[int, bytes, str]:
        """Status, body and the crc32c that was sent with it. Raises `OSError`."""
        while True:
            headers = self._headers(method, target, None if body is None else len(body), range_)
            try:
                async with self._session.request(method, target, data=body, headers=headers) as answer:
                    status, data = answer.status, await answer.read()
            except (ClientError, TimeoutError) as error:
                raise OSError(f"the data node {self._endpoint} cannot be reached: {error}") from error
            if not self._learns(status, answer.headers.get(TIME, "")):
                return status, data, answer.headers.get(CRC32C, "")

    def _learns(self, status: int, time_s: str) -> bool:
        """Whether it was refused for a clock that is off, ours or its own, and is to be signed by the node's."""
        if status != 401 or not re.fullmatch(r"\d{1,12}", time_s):
            return False
        before, self._ahead_s = self._ahead_s, int(time_s) - self._now_s()
        return abs(self._ahead_s - before) > CLOCKS_APART_S

    def _headers(self, method: str, target: str, length: int | None, range_: str = "") -> dict[str, str]:
        text = "" if length is None else str(length)
        headers = request_id.headers()
        now_s = int(self._now_s() + self._ahead_s)
        headers["authorization"] = self._secret.sign(method, target, text, range_, now_s)
        return headers | ({"content-length": text} if text else {}) | ({"range": range_} if range_ else {})


class RemoteWriter:
    def __init__(
        self,
        session: ClientSession,
        target: str,
        headers: dict[str, str],
        length: int,
        learns: Callable[[int, str], bool],
    ) -> None:
        """`learns` is told of the answer's status and the node's time; what was sent is not sent again."""
        self._learns = learns
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(CHUNKS_MAX)
        self._remaining = length
        self.crc32c = 0
        self._answer = asyncio.create_task(self._send(session, target, headers))

    async def write(self, data: bytes) -> None:
        if len(data) > self._remaining:
            raise ValueError("more bytes than announced")
        self._remaining -= len(data)
        self.crc32c = crc32c(data, self.crc32c)
        await self._hand_over(data)

    async def commit(self) -> list[str]:
        if self._remaining:
            raise ValueError(f"{self._remaining} bytes fewer than announced")
        await self._hand_over(None)
        crc, holders = await self._answer
        if crc != f"{self.crc32c:08x}":
            raise OSError("the node received other bytes than were sent")
        return holders.split(",")

    async def abort(self) -> None:
        """The broken connection tells the node."""
        self._answer.cancel()
        await asyncio.gather(self._answer, return_exceptions=True)

    async def _hand_over(self, chunk: bytes | None) -> None:
        """Pass a chunk to the request under way, unless that has ended: then raise what ended it."""
        if not self._answer.done() and not self._chunks.full():
            self._chunks.put_nowait(chunk)
            return
        putting = asyncio.create_task(self._chunks.put(chunk))
        try:
            await asyncio.wait([putting, self._answer], return_when=asyncio.FIRST_COMPLETED)
            if putting.done():
                return
        finally:
            putting.cancel()
        await self._answer
        raise OSError("the node answered before it had all bytes")

    async def _body(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    async def _send(self, session: ClientSession, target: str, headers: dict[str, str]) -> tuple[str, str]:
        """The crc32c that the node received, and the holders. Raises `OSError`, `BlobExists`, `TooFewCopies`."""
        try:
            async with session.put(target, data=self._body(), headers=headers) as answer:
                self._learns(answer.status, answer.headers.get(TIME, ""))
                return await _accepted(answer)
        except (ClientError, TimeoutError) as error:
            raise OSError(f"the data node cannot be reached: {error}") from error


def _path(ref: BlobRef) -> str:
    return f"/groups/{ref.group}/blobs/{ref.blob.hex()}"


async def _accepted(answer: ClientResponse) -> tuple[str, str]:
    text = (await answer.text()).strip()
    if answer.status == 409:
        raise BlobExists(text)
    if without := answer.headers.get(WITHOUT):
        raise TooFewCopies(text, without.split(","))
    if answer.status != 201:
        raise OSError(f"the data node refused: {text}")
    return answer.headers.get(CRC32C, ""), answer.headers.get(HOLDERS, "")


class RemoteNodes:
    """`datanode.node.Nodes`: a node by its endpoint, each with connections of its own. Use as a context."""

    def __init__(self, secret: ClusterSecret) -> None:
        self._secret = secret
        self._nodes: dict[str, RemoteNode] = {}

    def __call__(self, endpoint: str) -> RemoteNode:
        if endpoint not in self._nodes:
            self._nodes[endpoint] = RemoteNode(endpoint, self._secret)
        return self._nodes[endpoint]

    async def __aenter__(self) -> "RemoteNodes":
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self._nodes.values():
            await node.close()
