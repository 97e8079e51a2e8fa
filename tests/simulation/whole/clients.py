"""S3 clients on few hot keys of a few buckets, and each on a bucket of its own that comes and goes."""

import asyncio
import base64
import hashlib
import random
from collections.abc import Mapping, Sequence

from tests.linearizability.checker import Kind
from tests.simulation.data.clients import content
from tests.simulation.scratch import Change, ScratchBucket
from tests.simulation.whole.asking import LATE, Asking, Place, Told
from tests.simulation.whole.gateway import Gateway
from tests.simulation.whole.http import Answer, Asked
from tests.simulation.whole.uploads import Uploads
from topics import spec

KEYS = ("a", "b", "c")
SCRATCHED = 4  # times in a row: else too much is in between for a bucket to be full
ALWAYS = {"put": 6.0, "read": 5.0}
KINDS = {
    "create": 1,
    "race": 1,
    "replace": 1,
    "copy": 3,
    "delete": 2,
    "delete_some": 1,
    "read_slowly": 3,
    "list": 2,
    "upload": 2.5,
    "leave": 0.7,
    "scratch": 2,
}
SENDS_S = (0.0, 0.0, 0.05, 0.3)  # between two pieces of a body
TAKES_S = (0.05, 0.2, 0.6, 1.6, 3.0)  # for a piece of an answer
NO_KEY = ("NoSuchKey", "Not Found")
PARTS_READ = ("", "", "", "bytes=0-99", "bytes=5000-30000", "bytes=-4000", "head")
PARTS_READ_SLOWLY = ("", "", "bytes=5000-")
CREATION = {"if-none-match": "*"}
PUT: dict[Change, tuple[str, str]] = {
    "create": ("PUT", ""),
    "delete": ("DELETE", ""),
    "put": ("PUT", "/x"),
    "remove": ("DELETE", "/x"),
}


class Client(Asking):
    def __init__(
        self,
        number: int,
        gateways: list[Gateway],
        told: Told,
        rng: random.Random,
        buckets: Sequence[str],
        partitions: Sequence[int],
    ) -> None:
        super().__init__(number, gateways, told, rng)
        self._buckets = buckets
        self._partitions = partitions
        self._uploads = Uploads(self, told, rng)
        self._seen: dict[Place, str] = {}  # → the ETag that was there last
        self._scratches = 0
        self._new_scratch()

    async def run(self, until_s: float, pause_s: float, kinds: Mapping[str, float]) -> None:
        while self._told.now_s() < until_s:
            [kind] = self._rng.choices(list(kinds), list(kinds.values()))
            await self._act(kind, self._place())
            await asyncio.sleep(self._rng.random() * 2 * pause_s)

    async def _act(self, kind: str, place: Place) -> None:
        match kind:
            case "put":
                await self.put(place)
            case "create":
                await self.put(place, "create", CREATION)
            case "race":
                await asyncio.gather(*(self.put(place, "create", CREATION) for _ in range(2)))
            case "replace":
                await self.put(place, "write", {"if-match": f'"{self._seen[place]}"'} if place in self._seen else {})
            case "copy":
                source = self._place()
                await asyncio.gather(self._copy(source, place), self._replace_soon(source))
            case "delete":
                await self.write("write", place, None, Asked(self.request(), "DELETE", f"/{place}"))
                if self._rng.random() < 0.3:
                    await self._act("race", place)
            case "delete_some":
                await self._delete_some(place.bucket)
            case "read":
                await self.read(place)
            case "read_slowly":
                await asyncio.gather(self.read(place, self._rng.choice(TAKES_S)), self._replace_soon(place))
            case "list":
                await self.list(place.bucket)
            case "upload":
                await self._uploads.run(place, self._place())
            case "leave":
                await self._leave(place)
            case _:
                for _ in range(SCRATCHED):
                    await self._scratch()

    def _place(self) -> Place:
        return Place(self._rng.choice(self._buckets), self._rng.choice(KEYS))

    def _payload(self, value: str, is_large: bool) -> bytes:
        draw = 1.0 if is_large else self._rng.random()
        return b"" if draw < 0.04 else content(int(value), large=draw > 0.5)

    # objects

    async def put(
        self, place: Place, kind: Kind = "write", conditions: Mapping[str, str] = {}, *, is_large: bool = False
    ) -> bool:
        """Whether it was done."""
        asked, value = self._put(place, conditions, is_large=is_large)
        with self.writing():
            return await self.write(kind, place, value, asked) is not None

    def _put(
        self, place: Place, conditions: Mapping[str, str], leaves_after: int | None = None, *, is_large: bool = False
    ) -> tuple[Asked, str]:
        value = f"{self._told.number()}"
        data, headers = self._payload(value, is_large), {"x-amz-meta-value": value, **conditions}
        self._told.contents.check(value, self._told.contents.add(data), len(data))
        sends_s = self._rng.choice(SENDS_S)
        return Asked(self.request(), "PUT", f"/{place}", {}, headers, data, sends_s, leaves_after=leaves_after), value

    async def _leave(self, place: Place) -> None:
        """In the middle of a body; or behind it, before the answer."""
        asked, value = self._put(place, {}, self._rng.randrange(3))
        await self.write("write", place, value, asked)

    async def _copy(self, source: Place, place: Place) -> None:
        value = f"{self._told.number()}"
        headers = {
            "x-amz-copy-source": f"/{source}",
            "x-amz-metadata-directive": "REPLACE",
            "x-amz-meta-value": value,
        }
        asked = Asked(self.request(), "PUT", f"/{place}", {}, headers)
        with self.writing():
            answer = await self.write("write", place, value, asked, source)
        if answer is not None:
            etag = answer.document().findtext("ETag", "").strip('"')
            self._told.contents.check(value, etag, self._told.contents.size(etag))

    async def _replace_soon(self, source: Place) -> None:
        """What is being read becomes garbage, often."""
        if self._rng.random() < 0.5:
            await asyncio.sleep(self._rng.random())
            await self.put(source)

    async def _delete_some(self, bucket: str) -> None:
        keys = [key for key in KEYS if self._rng.random() < 0.6] or [KEYS[0]]
        body = f"<Delete>{''.join(f'<Object><Key>{key}</Key></Object>' for key in keys)}</Delete>".encode()
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        asked = Asked(self.request(), "POST", f"/{bucket}", {"delete": ""}, {"content-md5": md5}, body)
        started = self._told.now_s()
        answer = await self.ask("delete some", asked)
        if answer is not None and answer.code:
            self.explain(asked, answer.code, [])
        errors = {} if answer is None else _errors(answer)
        for number, key in enumerate(keys):
            code = errors.get(key, "")
            if code == "ServiceUnavailable":
                self._told.unanswered.append(f"{asked}: {key} {code}")
            elif code:
                self.explain(asked, code, [LATE])
                continue
            ended = None if answer is None or code else self._told.now_s()
            self.wrote("write", Place(bucket, key), None, f"{asked.id}-{number}", started, ended)

    async def read(self, place: Place, takes_s: float = 0.0) -> bool:
        """Whether it was answered. All of it, a part, or nothing but what is known of it."""
        part = self._rng.choice(PARTS_READ_SLOWLY if takes_s else PARTS_READ)
        headers = {"range": part} if part.startswith("bytes") else {}
        asked = Asked(self.request(), "HEAD" if part == "head" else "GET", f"/{place}", {}, headers, takes_s=takes_s)
        started = self._told.now_s()
        answer = await self.ask("read slowly" if takes_s else "read", asked)
        if answer is None:
            return False
        if answer.code:
            self.explain(asked, answer.code, [*NO_KEY, *(["InvalidRange"] if headers else [])])
            if answer.code in NO_KEY:
                self._seen.pop(place, None)
                self.saw(place, None, started)
            return True
        value, etag = answer.headers["x-amz-meta-value"], answer.headers["etag"].strip('"')
        first, size = _range(answer)
        self._told.contents.check(value, etag, size)
        self._told.contents.check_bytes(etag, first, answer.body)
        self._seen[place] = etag
        self.saw(place, value, started)
        return True

    async def list(self, bucket: str) -> None:
        after = self._rng.choice(["", "", "a"])
        query = {"list-type": "2", "metadata": "true", "max-keys": self._rng.choice(["1", "2", "1000"])}
        asked = Asked(self.request(), "GET", f"/{bucket}", query | ({"start-after": after} if after else {}))
        started = self._told.now_s()
        answer = await self.ask("list", asked)
        if answer is None:
            return
        if answer.code:
            self.explain(asked, answer.code, [])
        tree, found = answer.document(), dict[str, str]()
        for row in tree.findall("Contents"):
            key, value = row.findtext("Key", ""), row.findtext("UserMetadata/X-Amz-Meta-Value", "")
            self._told.contents.check(value, row.findtext("ETag", "").strip('"'), int(row.findtext("Size", "")))
            found[key] = value
        last = max(found) if tree.findtext("IsTruncated") == "true" else KEYS[-1]
        for key in KEYS:
            if after < key <= last:
                self.saw(Place(bucket, key), found.get(key), started)

    # a bucket that comes and goes

    def _new_scratch(self) -> None:
        """Of a partition that somebody owns here."""
        self._scratch_bucket = ScratchBucket()
        while True:
            self._scratches += 1
            self._scratch_name = f"scratch-{self._number}-{self._scratches}"
            if spec.bucket_partition(self._scratch_name) in self._partitions:
                return

    async def _scratch(self) -> None:
        change: Change = self._rng.choice(["create", "create", "delete", "delete", "put", "remove"])
        method, key = PUT[change]
        body = b"x" * 9 if change == "put" else b""
        asked = Asked(self.request(), method, f"/{self._scratch_name}{key}", {}, {}, body)
        before = self._scratch_bucket.asked(change)
        answer = await self.ask(f"bucket: {change}", asked)
        if answer is None or answer.code == LATE:
            self._new_scratch()  # what was asked may come to be much later
        else:
            self._scratch_bucket.answered(self._scratch_name, before, change, answer.code)


def _errors(answer: Answer) -> dict[str, str]:
    """Key → code."""
    return {each.findtext("Key", ""): each.findtext("Code", "") for each in answer.document().findall("Error")}


def _range(answer: Answer) -> tuple[int, int]:
    """Where the bytes of an answer begin, and the size of the object."""
    if answer.status == 206:
        span, _, size = answer.headers["content-range"].removeprefix("bytes ").partition("/")
        return int(span.partition("-")[0]), int(size)
    return 0, int(answer.headers["content-length"])
