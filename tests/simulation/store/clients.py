"""Clients against the store: what they do, and that each answer is one that may be given."""

import asyncio
import contextlib
import random
from collections.abc import Collection, Sequence

from bucketlog.store import Store
from datanode.node import BlobUnavailable
from gateway import payload
from gateway.errors import S3Error
from tests.simulation.invariants import (
    CorruptionIsNeverServed,
    FullNodesTakeNothing,
    NoAcknowledgedWriteIsLost,
    ReadsAreLinearizable,
    RefusalsAreTrue,
)
from tests.simulation.scratch import Change
from tests.simulation.store.histories import Histories, Key, KeyHistory, Value
from topics import commands, spec
from topics.log import LogError
from topics.objects import Attributes, Extent, Preconditions
from topics.replies import Reply

BUCKETS = ("alpha", "beta")
CLIENTS, KEYS_EACH = 4, 3
KINDS = {
    "put": 5,
    "new": 2,
    "delete": 2,
    "read": 4,
    "multipart": 1,
    "abort": 0.5,
    "abort of many parts": 0.05,
    "conditional": 1,
    "race": 1,
    "scratch": 1.5,
}
PARTS_MAX = 3
MANY_PARTS = 40  # more than are given up in one event here
IDLE_SHARE = 0.02  # of the pauses, in which housekeeping and settling come round several times
IDLE_S = 3.0
UNKNOWN = {"ServiceUnavailable"}  # the outcome is
SLOW_READS, SLOW_READ_S = 0.1, 3.0  # longer than garbage is kept here
FULL_KNOWN_S = 5.0  # that a disk is full has come into the map, some failed writes of the log among it
CREATION = Preconditions(if_none_match="*")
FAILURES = (S3Error, LogError, OSError)


class Unreadable(Exception):
    """The bytes of an object cannot be had."""


class Client:
    """One of those that act at the same time. `refusals`: codes that a release gives for reasons of its own."""

    def __init__(
        self, number: int, store: Store, histories: Histories, rng: random.Random, refusals: Collection[str] = ()
    ) -> None:
        self.number = number
        self._store = store
        self._histories = histories
        self._rng = rng
        self._refusals = refusals

    async def run(self, commands_until: int, think_s: float) -> None:
        rng = self._rng
        while self._histories.commands < commands_until:
            self._histories.commands += 1
            [kind] = rng.choices(list(KINDS), list(KINDS.values()))
            with contextlib.suppress(*FAILURES):
                await self._act(kind)
            await asyncio.sleep(rng.random() * (IDLE_S if rng.random() < IDLE_SHARE else think_s))

    async def make_buckets(self) -> None:
        """Those that stay. Raises what keeps it from that."""
        for bucket in BUCKETS:
            if await self._store.reads.bucket(bucket) is None:
                body = commands.CreateBucket(bucket, bucket.ljust(32, "0"), "us-east-1")
                await self._submit(body, {"BucketAlreadyOwnedByYou"})
            self._histories.made.add(bucket)

    async def put(self, key: Key) -> None:
        """Raises what keeps it from that."""
        await self._write("put", key)

    async def _act(self, kind: str) -> None:
        rng, bucket = self._rng, self._rng.choice(BUCKETS)
        key = (bucket, f"{self.number}/{rng.randrange(KEYS_EACH)}")
        match kind:
            case "read":
                await self.read(rng.choice(list(self._histories.keys) or [key]))
            case "race":
                await self._race(key)
            case "scratch":
                await self._scratch()
            case "abort":
                await self._abort(key)
            case "abort of many parts":
                await self._abort(key, MANY_PARTS)
            case "new":
                await self._write("put", (bucket, f"{self.number}/new/{self._histories.commands}"))
            case _:
                await self._write(kind, key)
        self._histories.reached[kind] += 1

    # objects

    async def _write(self, kind: str, key: Key) -> None:
        history, value = self._histories.key(key), None if kind == "delete" else self._histories.value()
        before = history.allowed()
        history.possible.add(value)
        try:
            if value is None:
                await self._submit(commands.DeleteObject(*key))
            elif kind == "multipart":
                await self._multipart(key, value)
            else:
                await self._put(key, value, CREATION if kind == "conditional" else Preconditions())
        except S3Error as error:
            if error.code not in UNKNOWN and value is not None:
                history.was_refused([value])
                if error.code == "PreconditionFailed" and before == {None}:
                    raise RefusalsAreTrue(f"{key} was there, and never was") from None
            raise
        history.done(value)

    async def _race(self, key: Key) -> None:
        """Two creations of one key at once, each on the condition that it is not there."""
        history, values = self._histories.key(key), [self._histories.value(), self._histories.value()]
        before = history.allowed()
        history.possible.update(values)
        outcomes = await asyncio.gather(*(self._put(key, value, CREATION) for value in values), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, FAILURES):
                raise outcome
        told = dict(zip(values, outcomes, strict=True))
        codes = {value: outcome.code for value, outcome in told.items() if isinstance(outcome, S3Error)}
        won = [value for value, outcome in told.items() if outcome is None]
        if len(won) == len(values):
            raise ReadsAreLinearizable(f"{key} was created twice")
        if list(codes.values()) == ["PreconditionFailed"] * 2 and before == {None}:
            raise RefusalsAreTrue(f"{key} was there for both that would create it, and never was")
        history.was_refused(value for value, code in codes.items() if code not in UNKNOWN)
        if won:
            history.acknowledged = won[0]
            history.possible.discard(won[0])

    async def _put(self, key: Key, value: int, wanted: Preconditions) -> None:
        data = content(value)
        extents = [await self._payload(key[0], data, is_large=value % 7 == 0)]
        body = commands.PutObject(*key, len(data), str(value), extents, None, Attributes(), wanted)
        await self._submit(body, {"PreconditionFailed"} if wanted == CREATION else set())

    async def _payload(self, bucket: str, data: bytes, *, is_large: bool) -> Extent:
        """By the log, or straight into volumes."""
        partition = spec.bucket_partition(bucket)
        if not is_large:
            started_s, full_since_s = asyncio.get_running_loop().time(), self._histories.full_since_s
            extent = await self._store.blobs.put(data, partition)
            if full_since_s is not None and full_since_s + FULL_KNOWN_S < started_s:
                raise FullNodesTakeNothing(f"a payload {started_s - full_since_s:.1f} s after all disks were full")
            return extent
        writer = await self._store.blobs.create(len(data), partition)
        await writer.write(data)
        return await writer.commit()

    async def _multipart(self, key: Key, value: int) -> None:
        data = content(value)
        count = min(self._rng.randint(1, PARTS_MAX), len(data))
        step = -(-len(data) // count)
        pieces = [data[start : start + step] for start in range(0, len(data), step)]
        upload, parts = await self._upload(key, value, pieces)
        await self._submit(commands.CompleteUpload(*key, upload, parts, None))
        self._histories.reached[f"multipart of {len(parts)}"] += 1

    async def _abort(self, key: Key, parts: int = 1) -> None:
        value = self._histories.value()
        upload, _ = await self._upload(key, value, [content(value)] * parts)
        await self._submit(commands.AbortUpload(*key, upload))
        with contextlib.suppress(S3Error):  # it is gone, and so it must be for whoever asks again
            await self._submit(commands.AbortUpload(*key, upload), {"NoSuchUpload"})
            raise RefusalsAreTrue(f"an upload of {key} was given up twice")

    async def _upload(self, key: Key, value: int, pieces: Sequence[bytes]) -> tuple[str, list[commands.PartName]]:
        upload, parts = f"{self._rng.getrandbits(128):032x}", []
        await self._submit(commands.CreateUpload(*key, upload, "", "FULL_OBJECT", Attributes()))
        for number, piece in enumerate(pieces, 1):
            extents = [await self._payload(key[0], piece, is_large=value % 3 == 0)]
            etag = f"{value:016x}{number:016x}"
            await self._submit(commands.PutPart(*key, upload, number, len(piece), etag, extents, None))
            parts.append(commands.PartName(number, etag))
        return upload, parts

    # a bucket that comes and goes

    async def _scratch(self) -> None:
        name = f"scratch-{self.number}"
        bucket = self._histories.scratch[name]
        change: Change = self._rng.choice(["create", "create", "delete", "delete", "put", "remove"])
        match change:
            case "create":
                body: commands.Body = commands.CreateBucket(name, f"{self._rng.getrandbits(128):032x}", "us-east-1")
            case "delete":
                body = commands.DeleteBucket(name)
            case "remove":
                body = commands.DeleteObject(name, "x")
            case _:
                extents = [await self._payload(name, b"x" * 9, is_large=False)]
                body = commands.PutObject(name, "x", 9, "x", extents, None, Attributes())
        possible = {"NoSuchBucket", "BucketNotEmpty", "BucketAlreadyOwnedByYou"}
        before = bucket.asked(change)
        try:
            await self._submit(body, possible)
        except S3Error as error:
            if error.code in possible:
                bucket.answered(name, before, change, error.code)
            raise
        bucket.answered(name, before, change)
        self._histories.reached[f"bucket: {change}"] += 1

    # asking

    async def _submit(self, body: commands.Body, explained: Collection[str] = ()) -> Reply:
        """Raises `RefusalsAreTrue` for a refusal that nothing here explains."""
        request = self._histories.request()
        try:
            reply = await self._store.commander.submit(request, "root", body)
        except S3Error as error:
            self._histories.reached[f"{type(body).__name__} refused: {error.code}"] += 1
            is_missing = error.code == "NoSuchBucket" and body.bucket not in self._histories.made  # type: ignore[union-attr]
            if error.code not in {*UNKNOWN, *explained, *self._refusals} and not is_missing:
                raise RefusalsAreTrue(f"{request}, {type(body).__name__} of {body.bucket}: {error.code}") from error  # type: ignore[union-attr]
            raise
        if not isinstance(body, commands.DeleteObject) or reply.version_id:
            self._histories.acknowledged.add(request)
        return reply

    async def read(self, key: Key) -> None:
        history = self._histories.key(key)
        at_start = history.allowed()
        try:
            found = await value_of(
                self._store, key, self._rng.random() * SLOW_READ_S if self._rng.random() < SLOW_READS else 0
            )
        except Unreadable as error:
            raise NoAcknowledgedWriteIsLost(str(error)) from error
        history.check_read(key, found, at_start)


async def check_last(store: Store, histories: Histories, key: Key) -> None:
    """What a GET and a LIST show while nobody writes."""
    history: KeyHistory = histories.key(key)
    try:
        found = await value_of(store, key)
    except Unreadable as error:
        raise NoAcknowledgedWriteIsLost(str(error)) from error
    history.check_last(key, found)
    row = await store.reads.bucket(key[0])
    listed = (await store.reads.listing(key[0], row, key[1], "", "", 1)).contents if row else []
    if (found is not None) != any(name == key[1] for name, _ in listed):
        raise ReadsAreLinearizable(f"the listing of {key} disagrees with its GET, {found}")


async def value_of(store: Store, key: Key, slow_s: float = 0.0) -> Value:
    """`slow_s`: what passes between its metadata and its bytes. Raises `Unreadable`."""
    bucket, name = key
    read = await store.open_reads.begin()
    try:
        _, found = await store.reads.current(bucket, name)
        if found is None:
            return None
        await asyncio.sleep(slow_s)  # it may be replaced meanwhile, and goes on
        chunks = payload.read(store.blobs, found.extents, 0, found.size, lambda: store.open_reads.check(read))
        data = b"".join([chunk async for chunk in chunks])
    except (BlobUnavailable, OSError) as error:
        raise Unreadable(f"{key}: {error}") from error
    finally:
        store.open_reads.end(read)
    value = int.from_bytes(data[:8], "big")
    if data != content(value):
        raise CorruptionIsNeverServed(f"{key}")
    return value


def content(value: int) -> bytes:
    """The payload that stands for a value; sizes from 8 bytes to some blocks."""
    size = 8 + (value * 7919) % 3000 if value % 5 else 8 + (value * 7919) % 150_000
    return value.to_bytes(8, "big") + bytes([value % 251]) * (size - 8)
