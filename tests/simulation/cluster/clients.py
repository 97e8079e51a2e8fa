"""Clients on few hot keys, and what they saw: operations for the checker of linearizability."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Set
from typing import NamedTuple

from gateway.errors import S3Error
from processors.reads import Bucket, ReadUnavailable
from tests.linearizability.checker import Kind, Operation
from tests.simulation.cluster.gateway import Gateway
from tests.simulation.invariants import RefusalsAreTrue
from topics import commands, spec
from topics.log import LogError
from topics.objects import Attributes, Extent, Preconditions

KEYS = ("a", "b", "c")
REFUSALS = frozenset({"PreconditionFailed", "RequestTimeout", "NoSuchKey"})
ALWAYS = Preconditions()
READ_WRITTEN = 0.5  # of reads, of what any client wrote last: who is out of date shows it there


class Write(NamedTuple):
    request: str
    bucket: str
    operation: Operation


class Refusal(NamedTuple):
    request: str
    code: str
    key: str
    started: float
    ended: float


class History:
    """All that every client asked and was told. Times are the world's."""

    def __init__(self, now_s: Callable[[], float], codes: Set[str] = REFUSALS) -> None:
        """`codes`: the definitive refusals that there are."""
        self.now_s = now_s
        self.codes = codes
        self.writes: list[Write] = []
        self.reads: list[Operation] = []
        self.refusals: list[Refusal] = []
        self.unanswered: list[str] = []
        self.longest_s = 0.0  # that a request took
        self.written: tuple[str, str] | None = None  # the bucket and key of the write that was done last
        self.reached: Counter[str] = Counter()
        self._last = 0

    def number(self) -> int:
        self._last += 1
        return self._last


class Client:
    def __init__(
        self, number: int, gateway: Gateway, history: History, rng: random.Random, buckets: dict[str, Bucket]
    ) -> None:
        self._number = number
        self._gateway = gateway
        self._history = history
        self._rng = rng
        self._buckets = buckets

    async def run(self, until_s: float, pause_s: float) -> None:
        while self._history.now_s() < until_s:
            started = self._history.now_s()
            await self.act()
            self._history.longest_s = max(self._history.longest_s, self._history.now_s() - started)
            await asyncio.sleep(self._rng.random() * 2 * pause_s)

    async def act(self) -> None:
        bucket, key = self._rng.choice(list(self._buckets)), self._rng.choice(KEYS)
        match self._rng.choices(["write", "create", "delete", "probe", "read", "list"], [4, 1, 1, 1, 4, 1])[0]:
            case "write":
                await self.put("write", bucket, key)
            case "create":
                await self.put("create", bucket, key, Preconditions(if_none_match="*"))
            case "delete":
                await self._write("write", bucket, key, None, commands.DeleteObject(bucket, key))
            case "probe":
                await self.probe(bucket, key)
            case "read":
                written = self._history.written if self._rng.random() < READ_WRITTEN else None
                await self.read(*(written or (bucket, key)))
            case _:
                await self.list(bucket)

    async def put(self, kind: Kind, bucket: str, key: str, wanted: Preconditions = ALWAYS) -> bool:
        value = f"{self._history.number()}"
        return await self._write(kind, bucket, key, value, self._body(bucket, key, value, wanted))

    async def probe(self, bucket: str, key: str) -> None:
        """A write that is never done; how it is refused tells whether there was something."""
        started = self._history.now_s()
        body = self._body(bucket, key, "never", Preconditions(if_match="what no object has"))
        request = f"request {self._history.number()}"
        outcome = await self._submit("probe", request, body)
        if outcome == "NoSuchKey":
            self._saw(bucket, key, None, started)
        elif outcome in self._history.codes:
            self._was_refused(request, outcome, bucket, key, started)

    def _body(self, bucket: str, key: str, value: str, wanted: Preconditions) -> commands.Body:
        blob = f"{self._rng.getrandbits(128):032x}"
        return commands.PutObject(bucket, key, 1, value, [Extent(blob, 0, 1, 0, -1)], None, Attributes(), wanted)

    async def _write(self, kind: Kind, bucket: str, key: str, value: str | None, body: commands.Body) -> bool:
        """Whether it was done."""
        request = f"request {self._history.number()}"
        started = self._history.now_s()
        outcome = await self._submit(kind, request, body)
        if outcome in self._history.codes:
            self._was_refused(request, outcome, bucket, key, started)
            return False
        ended = self._history.now_s() if outcome == "done" else None
        if ended is None:
            self._history.unanswered.append(f"{request} of {bucket}/{key} ({spec.bucket_partition(bucket)}) at {started}")
        else:
            self._history.written = bucket, key
        operation = Operation(self._number, f"{bucket}/{key}", kind, value, started, ended)
        self._history.writes.append(Write(request, bucket, operation))
        return ended is not None

    async def _submit(self, kind: str, request: str, body: commands.Body) -> str:
        """`done`, one of the refusals, or what leaves the outcome unknown."""
        outcome = "done"
        try:
            await self._gateway.commander.submit(request, "root", body)
        except S3Error as error:
            outcome = error.code
        except LogError:
            outcome = "not sent"
        self._history.reached[f"{kind}: {outcome}"] += 1
        if outcome not in {"done", "ServiceUnavailable", "not sent", *self._history.codes}:
            raise RefusalsAreTrue(f"{request} was answered {outcome}")
        return outcome

    async def read(self, bucket: str, key: str) -> bool:
        """Whether it was answered."""
        started = self._history.now_s()
        try:
            _, found = await self._gateway.reads.current(bucket, key)
        except ReadUnavailable as error:
            return self._was_unavailable(f"read of {bucket}/{key}", error)
        self._saw(bucket, key, found.etag if found else None, started)
        self._history.reached["read"] += 1
        return True

    async def list(self, bucket: str) -> bool:
        started = self._history.now_s()
        after, limit = self._rng.choice(["", "a"]), self._rng.choice([1, 2, 1000])
        try:
            found = await self._gateway.reads.listing(bucket, self._buckets[bucket], "", "", after, limit)
        except ReadUnavailable as error:
            return self._was_unavailable(f"list of {bucket}", error)
        etags = {key: row.etag for key, row in found.contents}
        for key in KEYS:
            if after < key and (not found.next_marker or key <= found.next_marker):
                self._saw(bucket, key, etags.get(key), started)
        self._history.reached["list"] += 1
        return True

    def _saw(self, bucket: str, key: str, value: str | None, started: float) -> None:
        ended = self._history.now_s()
        self._history.reads.append(Operation(self._number, f"{bucket}/{key}", "read", value, started, ended))

    def _was_refused(self, request: str, code: str, bucket: str, key: str, started: float) -> None:
        self._history.refusals.append(Refusal(request, code, f"{bucket}/{key}", started, self._history.now_s()))

    def _was_unavailable(self, what: str, error: ReadUnavailable) -> bool:
        self._history.reached["read: unavailable"] += 1
        self._history.unanswered.append(f"{what}: {error}")
        return False
