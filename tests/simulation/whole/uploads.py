"""Uploads in parts: completed, with parts that are sent twice, left out or copied; given up; or left as they are."""

import asyncio
import random
from typing import Protocol

from tests.linearizability.checker import Kind
from tests.simulation.data.clients import content
from tests.simulation.whole.asking import LATE, Place, Told
from tests.simulation.whole.http import Answer, Asked

PARTS_MAX = 4
COMPLETED, ABORTED = 0.65, 0.2  # the rest is left


class Client(Protocol):
    """What uploads need of whoever makes them: see `asking.Asking`."""

    def request(self) -> str: ...

    async def ask(self, kind: str, asked: Asked) -> Answer | None: ...

    async def write(
        self, kind: Kind, place: Place, value: str | None, asked: Asked, source: Place | None = None
    ) -> Answer | None: ...

    def explain(self, asked: Asked, code: str, explained: list[str]) -> None: ...


class Uploads:
    def __init__(self, client: Client, told: Told, rng: random.Random) -> None:
        self._client = client
        self._told = told
        self._rng = rng

    async def run(self, place: Place, source: Place) -> None:
        """`source`: of a part that may be copied."""
        rng, value = self._rng, f"{self._told.number()}"
        headers = {"x-amz-meta-value": value}
        begun = await self._ask("upload: create", place, "POST", {"uploads": ""}, headers)
        if begun is None:
            return
        upload = begun.document().findtext("UploadId", "")
        numbers = range(1, rng.randint(1, PARTS_MAX) + 1)
        parts = await asyncio.gather(*(self._part(place, upload, number, source) for number in numbers))
        etags = {number: etag for number, etag in zip(numbers, parts, strict=True) if etag}
        draw = rng.random()
        if draw < COMPLETED and etags:
            if len(etags) > 1 and rng.random() < 0.3:
                del etags[rng.choice(list(etags))]
            await self._complete(place, upload, value, etags)
        elif draw < COMPLETED + ABORTED:
            await self._ask("upload: abort", place, "DELETE", {"uploadId": upload}, {})

    async def _part(self, place: Place, upload: str, number: int, source: Place) -> str:
        """Its ETag; empty where it is not known to be there."""
        rng, etag = self._rng, ""
        query = {"partNumber": f"{number}", "uploadId": upload}
        if rng.random() < 0.2:
            answer = await self._ask("upload: copy", place, "PUT", query, {"x-amz-copy-source": f"/{source}"})
            found = answer.document().findtext("ETag", "").strip('"') if answer else ""
            return found if found and self._told.contents.size(found) else ""
        for _ in range(2 if rng.random() < 0.15 else 1):
            data = content(self._told.number(), large=rng.random() < 0.6)
            etag = self._told.contents.add(data)
            if await self._ask("upload: part", place, "PUT", query, {}, data) is None:
                return ""  # an earlier one may be replaced
        return etag

    async def _complete(self, place: Place, upload: str, value: str, etags: dict[int, str]) -> None:
        etag = self._told.contents.join(list(etags.values()))
        self._told.contents.check(value, etag, self._told.contents.size(etag))
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{each}</ETag></Part>" for number, each in etags.items()
        )
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        asked = Asked(self._client.request(), "POST", f"/{place}", {"uploadId": upload}, {}, body)
        await self._client.write("write", place, value, asked)

    async def _ask(
        self, kind: str, place: Place, method: str, query: dict[str, str], headers: dict[str, str], body: bytes = b""
    ) -> Answer | None:
        """What it was answered, if it was done."""
        asked = Asked(self._client.request(), method, f"/{place}", query, headers, body)
        answer = await self._client.ask(kind, asked)
        if answer is None or not answer.code:
            return answer
        self._client.explain(asked, answer.code, [LATE, "NoSuchKey"] if "x-amz-copy-source" in headers else [LATE])
        return None
