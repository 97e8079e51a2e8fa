"""A data node over HTTP: the client's side of `datanode.api`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from awscrt.checksums import crc32c

from datanode.api import CRC32C
from datanode.node import BlobUnavailable
from datanode.store import BlobExists
from topics.secret import ClusterSecret

CONNECTIONS_MAX = 256  # to one node
CHUNKS_MAX = 4  # of a writer, before `write` waits for the network
TIMEOUT = ClientTimeout(total=None, sock_connect=2, sock_read=10)


class RemoteNode:
    """Use as a context: `async with RemoteNode(...) as node`."""

    def __init__(self, endpoint: str, secret: ClusterSecret, now_s: Callable[[], float] = time.time) -> None:
        """`endpoint` is http://host:port."""
        self._endpoint = endpoint
        self._secret = secret
        self._now_s = now_s
        self._session = ClientSession(endpoint, timeout=TIMEOUT, connector=TCPConnector(limit=CONNECTIONS_MAX))

    async def __aenter__(self) -> "RemoteNode":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def create(self, blob: bytes, length: int) -> "RemoteWriter":
        return RemoteWriter(
            self._session, f"/blobs/{blob.hex()}", self._headers("PUT", f"/blobs/{blob.hex()}", length), length
        )

    async def read(self, blob: bytes, start: int, size: int, position: int) -> bytes:
        if size <= 0:
            raise ValueError("a read asks for at least one byte")
        target, range_ = f"/blobs/{blob.hex()}?position={position}", f"bytes={start}-{start + size - 1}"
        try:
            async with self._session.get(target, headers=self._headers("GET", target, None, range_)) as answer:
                data = await answer.read()
                if answer.status == 416:
                    raise ValueError(data.decode().strip())
                if answer.status == 404:
                    raise BlobUnavailable(f"{self._endpoint}: {data.decode().strip()}")
                if answer.status != 206:
                    raise OSError(f"{self._endpoint} refused: {data.decode().strip()}")
        except (ClientError, TimeoutError) as error:
            raise OSError(f"the data node {self._endpoint} cannot be reached: {error}") from error
        if answer.headers.get(CRC32C) != f"{crc32c(data):08x}" or len(data) != size:
            raise BlobUnavailable(f"{self._endpoint}: blob {blob.hex()} was damaged on its way")
        return data

    def _headers(self, method: str, target: str, length: int | None, range_: str = "") -> dict[str, str]:
        text = "" if length is None else str(length)
        headers = {"authorization": self._secret.sign(method, target, text, range_, int(self._now_s()))}
        return headers | ({"content-length": text} if text else {}) | ({"range": range_} if range_ else {})


class RemoteWriter:
    def __init__(self, session: ClientSession, target: str, headers: dict[str, str], length: int) -> None:
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

    async def commit(self) -> None:
        if self._remaining:
            raise ValueError(f"{self._remaining} bytes fewer than announced")
        await self._hand_over(None)
        if await self._answer != f"{self.crc32c:08x}":
            raise OSError("the node received other bytes than were sent")

    async def abort(self) -> None:
        """The broken connection tells the node."""
        self._answer.cancel()
        await asyncio.gather(self._answer, return_exceptions=True)

    async def _hand_over(self, chunk: bytes | None) -> None:
        """Pass a chunk to the request under way, unless that has ended: then raise what ended it."""
        putting = asyncio.create_task(self._chunks.put(chunk))
        await asyncio.wait([putting, self._answer], return_when=asyncio.FIRST_COMPLETED)
        if not putting.done():
            putting.cancel()
            await self._answer
            raise OSError("the node answered before it had all bytes")

    async def _body(self) -> AsyncIterator[bytes]:
        while (chunk := await self._chunks.get()) is not None:
            yield chunk

    async def _send(self, session: ClientSession, target: str, headers: dict[str, str]) -> str:
        """The crc32c that the node received. Raises `OSError`, `BlobExists`."""
        try:
            async with session.put(target, data=self._body(), headers=headers) as answer:
                return await _accepted(answer)
        except (ClientError, TimeoutError) as error:
            raise OSError(f"the data node cannot be reached: {error}") from error


async def _accepted(answer: ClientResponse) -> str:
    text = (await answer.text()).strip()
    if answer.status == 409:
        raise BlobExists(text)
    if answer.status != 201:
        raise OSError(f"the data node refused: {text}")
    return answer.headers.get(CRC32C, "")
