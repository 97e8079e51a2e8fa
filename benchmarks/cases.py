"""What is measured: pieces of work that clients do, and the objects that these find."""

import itertools
import os
import random
import re
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.load import Connection, Work, call_once, calls, query, run
from benchmarks.requests import Call, Target

BUCKET = "bench"
KIB, MIB = 1 << 10, 1 << 20
PART_BYTES = 16 * MIB
STORED = {KIB: 1_000, 4 * KIB: 10_000, MIB: 100}  # objects that GET, HEAD and LIST find, by their size
_UPLOAD = re.compile(rb"<UploadId>([^<]+)</UploadId>")
_ETAG = re.compile(rb"\r\netag: *([^\r]+)", re.IGNORECASE)
_LIST = 4 * KIB


class Case(NamedTuple):
    name: str
    connections: int
    size: int  # bytes that a piece of work carries; 0 for LIST
    work: Callable[[int], Work]  # of a process, by its number
    goal: str = ""


def puts(size: int) -> Callable[[int], Work]:
    def of_process(process: int) -> Work:
        body, count = os.urandom(size), itertools.count()
        return calls(lambda: Call("PUT", f"/{BUCKET}/put-{size}/{process}/{next(count)}", body=body))

    return of_process


def reads(method: str, size: int) -> Callable[[int], Work]:
    """GET or HEAD."""

    def of_process(process: int) -> Work:
        rng, objects = random.Random(process), STORED[size]
        return calls(lambda: Call(method, f"/{BUCKET}/get-{size}/{rng.randrange(objects):06}"))

    return of_process


def lists(process: int) -> Work:
    """Pages of 1,000 keys."""
    rng = random.Random(process)

    async def work(connection: Connection) -> int:
        after = f"get-{_LIST}/{rng.randrange(STORED[_LIST] - 1001):06}"
        answer = await connection.ask(Call("GET", f"/{BUCKET}", query(list_type="2", start_after=after)), keeps=True)
        return answer.body.count(b"<Key>")

    return work


def uploads(size: int) -> Callable[[int], Work]:
    """In parts, one after the other."""

    def of_process(process: int) -> Work:
        body, count = os.urandom(PART_BYTES), itertools.count()

        async def work(connection: Connection) -> int:
            path = f"/{BUCKET}/upload-{size}/{process}/{next(count)}"
            begun = await connection.ask(Call("POST", path, "uploads="), keeps=True)
            upload, parts = _found(_UPLOAD, begun.body), ""
            for number in range(1, size // PART_BYTES + 1):
                put = await connection.ask(Call("PUT", path, query(partNumber=str(number), uploadId=upload), body))
                parts += f"<Part><PartNumber>{number}</PartNumber><ETag>{_found(_ETAG, put.head)}</ETag></Part>"
            whole = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{parts}</CompleteMultipartUpload>'
            await connection.ask(Call("POST", path, query(uploadId=upload), whole.encode()))
            return 0

        return work

    return of_process


def _found(pattern: re.Pattern[bytes], text: bytes) -> str:
    match = pattern.search(text)
    assert match is not None, text
    return match[1].decode()


CASES = [
    Case("PUT 4 KiB", 16, 4 * KIB, puts(4 * KIB), "2,500/s"),
    Case("GET 4 KiB", 16, 4 * KIB, reads("GET", 4 * KIB), "4,500/s"),
    Case("HEAD 1 KiB", 16, KIB, reads("HEAD", KIB)),
    Case("LIST 1,000 keys", 4, 0, lists, "60,000 keys/s"),
    Case("PUT 1 MiB", 8, MIB, puts(MIB), "180 MiB/s"),
    Case("GET 1 MiB", 8, MIB, reads("GET", MIB), "800 MiB/s"),
    Case("PUT 64 MiB in parts of 16", 2, 64 * MIB, uploads(64 * MIB)),
]


def prepare(target: Target) -> None:
    """What is found."""
    call_once(target, Call("PUT", f"/{BUCKET}"))
    for size, objects in STORED.items():
        count, body = itertools.count(), os.urandom(size)

        def next_call(
            count: "itertools.count[int]" = count, size: int = size, objects: int = objects, body: bytes = body
        ) -> Call:
            return Call("PUT", f"/{BUCKET}/get-{size}/{next(count) % objects:06}", body=body)

        done = 0
        while done < objects:
            done += len(run(target, 16, 1, calls(next_call)).latencies_s)
