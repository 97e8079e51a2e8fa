"""`Reads` of a cluster: each question goes to the owner of its partition, as the topic `owners` names it."""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from yarl import URL

from processors.leases import AT, OwnerMap, leases
from processors.machine.tables import Bucket, Part, Upload
from processors.reads import Found, Listing, ReadUnavailable, UploadListing
from processors.service import DECIDED, OPERATIONS, encode_arguments
from topics import request_id
from topics.log import Log, LogError
from topics.secret import ClusterSecret
from topics.spec import BUCKET_PARTITIONS, bucket_partition

DEADLINE_S = 20.0  # longer than a partition is without an owner when one was killed
ATTEMPT = ClientTimeout(total=5, sock_connect=1)
AGAIN_S = 0.05
FOLLOW_AGAIN_S = 0.5
CONNECTIONS_MAX = 256
_decided = msgspec.msgpack.Decoder(dict[int, int])
log_ = logging.getLogger(__name__)


class Unanswered(Exception):
    """Why one attempt at a question got no answer."""


class OwnerReads(ABC):
    """Asks until an owner answers, whatever the way to it."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.owners = OwnerMap()
        self._heard_s: dict[int, float] = {}  # partition → when its owner spoke last
        self._following = asyncio.create_task(self._follow())

    def unready(self) -> list[str]:
        """Why some questions would not be answered."""
        if self._following.done():
            return ["owners of partitions are not followed any more"]
        gone = [str(partition) for partition in range(BUCKET_PARTITIONS) if not self._has_owner(partition)]
        return [f"nobody answers for partitions {', '.join(gone)}"] if gone else []

    def _has_owner(self, partition: int) -> bool:
        """One that is silent counts for as long as a question would wait for the next."""
        silent_s = asyncio.get_running_loop().time() - self._heard_s.get(partition, -DEADLINE_S)
        return silent_s < DEADLINE_S and self.owners.endpoint(partition) is not None

    async def bucket(self, name: str) -> Bucket | None:
        found: Bucket | None = await self._ask(bucket_partition(name), "bucket", name)
        return found

    async def buckets(self) -> list[tuple[str, Bucket]]:
        rows: list[list[tuple[str, Bucket]]] = await asyncio.gather(
            *(self._ask(partition, "buckets") for partition in range(BUCKET_PARTITIONS))
        )
        return sorted(row for some in rows for row in some)

    async def current(self, name: str, key: str) -> Found:
        found: Found = await self._ask(bucket_partition(name), "current", name, key)
        return found

    async def listing(self, name: str, bucket: Bucket, prefix: str, delimiter: str, after: str, limit: int) -> Listing:
        asked = (name, bucket, prefix, delimiter, after, limit)
        found: Listing = await self._ask(bucket_partition(name), "listing", *asked)
        return found

    async def upload(self, name: str, bucket: Bucket, key: str, upload: str) -> Upload | None:
        found: Upload | None = await self._ask(bucket_partition(name), "upload", name, bucket, key, upload)
        return found

    async def uploads(
        self, name: str, bucket: Bucket, prefix: str, delimiter: str, after: tuple[str, str], limit: int
    ) -> UploadListing:
        asked = (name, bucket, prefix, delimiter, after, limit)
        found: UploadListing = await self._ask(bucket_partition(name), "uploads", *asked)
        return found

    async def parts(self, name: str, upload: str, after: int, limit: int) -> list[tuple[int, Part]]:
        found: list[tuple[int, Part]] = await self._ask(bucket_partition(name), "parts", name, upload, after, limit)
        return found

    @abstractmethod
    async def _attempt(self, endpoint: str, partition: int, operation: str, arguments: tuple[Any, ...]) -> Any:
        """What the owner at an endpoint answers. Raises `Unanswered`."""

    async def _ask(self, partition: int, operation: str, *arguments: Any) -> Any:
        """Asks until an owner answers. Raises `ReadUnavailable` at the deadline."""
        why = "nobody owns it"
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    if endpoint := self.owners.endpoint(partition):
                        try:
                            return await self._attempt(endpoint, partition, operation, arguments)
                        except Unanswered as error:
                            why = str(error)
                    await asyncio.sleep(AGAIN_S)
        except TimeoutError:
            raise ReadUnavailable(f"partition {partition} cannot be read: {why}") from None

    async def _follow(self) -> None:
        while True:
            try:
                await self._fold_leases()
            except LogError as error:
                log_.warning("owners cannot be followed and will be again: %s", error)
                await asyncio.sleep(FOLLOW_AGAIN_S)
            except Exception as error:
                log_.critical("owners cannot be followed any more, nothing can be read: %s", error)
                raise

    async def _fold_leases(self) -> None:
        start = await self._log.latest(AT)  # whoever spoke before may be gone
        async for offset, lease in leases(self._log, await self._log.earliest(AT)):
            if lease is None:
                continue  # it is found by asking: an owner knows itself whether it may answer
            counted = self.owners.fold(lease)
            if offset >= start:
                self._heard_s.update(dict.fromkeys(counted, asyncio.get_running_loop().time()))


class RemoteReads(OwnerReads):
    """By HTTP. Use as a context: `async with RemoteReads(...) as reads`."""

    def __init__(self, log: Log, secret: ClusterSecret, now_s: Callable[[], float] = time.time) -> None:
        super().__init__(log)
        self._secret = secret
        self._now_s = now_s
        self._session = ClientSession(timeout=ATTEMPT, connector=TCPConnector(limit=CONNECTIONS_MAX))
        self._decoders = {name: msgspec.msgpack.Decoder(gives) for name, (_, gives) in OPERATIONS.items()}

    async def __aenter__(self) -> "RemoteReads":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._following.cancel()
        await self._session.close()

    async def _attempt(self, endpoint: str, partition: int, operation: str, arguments: tuple[Any, ...]) -> Any:
        target = f"/partitions/{partition}/{operation}?args={encode_arguments(arguments)}"
        return self._decoders[operation].decode(await self._get(endpoint, target))

    async def decided(self, endpoint: str) -> dict[int, int]:
        """How far the owner at an endpoint is: partition → the offset below which it has decided. Raises `Unanswered`."""
        return _decided.decode(await self._get(endpoint, DECIDED))

    async def _get(self, endpoint: str, target: str) -> bytes:
        headers = request_id.headers()
        headers["authorization"] = self._secret.sign("GET", target, "", "", int(self._now_s()))
        try:
            async with self._session.get(URL(endpoint + target, encoded=True), headers=headers) as answer:
                data = await answer.read()
        except (ClientError, TimeoutError) as error:
            raise Unanswered(f"{endpoint} cannot be reached: {error}") from error
        if answer.status != 200:
            raise Unanswered(f"{endpoint}: {data.decode().strip()}")
        return data
