"""The read service of an owner and its client: every operation as if asked in one process, and what is refused."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientSession

from processors import remote
from processors.leases import AT
from processors.memory import MemoryView
from processors.reads import ReadUnavailable, ViewReads
from processors.remote import RemoteReads
from processors.service import NOT_HELD, create_read_service, encode_arguments
from tests.datanode.nodes import SECRET, served
from tests.processors.machine import Machine
from topics import commands, owners, spec
from topics.log import Entry
from topics.memory import MemoryLog
from topics.objects import Attributes, Checksum, Extent
from topics.owners import Lease
from topics.spec import BUCKET_PARTITIONS, bucket_partition

NOW = 1_800_000_000
B = "bucket"
PARTITION = bucket_partition(B)


def filled() -> MemoryView:
    machine = Machine()
    machine.send(commands.CreateBucket(B, "i" * 32, "region"))
    for key in ("a/1", "a/2", "ü"):
        extents = [Extent("01" * 16, 0, 5, 7, -1)]
        machine.send(commands.PutObject(B, key, 5, "e", extents, Checksum("CRC32", "AAAAAA=="), Attributes()))
    machine.send(commands.CreateUpload(B, "big", "upload", "CRC32", "COMPOSITE", Attributes()))
    machine.send(commands.PutPart(B, "big", "upload", 1, 5, "e", [], None))
    return machine.view


class Owner:
    def __init__(self) -> None:
        self.view = filled()
        self.held = {PARTITION}
        self.reads_until_lost = -1
        self.log = MemoryLog("the log", lambda: 1)

    def is_held(self, partition: int) -> bool:
        self.reads_until_lost -= 1
        return partition in self.held and self.reads_until_lost != 0

    async def says(self, endpoint: str, partitions: set[int]) -> None:
        lease = Lease("owner", endpoint, dict.fromkeys(partitions, 1))
        await self.log.append(AT, [Entry(b"", owners.encode(lease))], durable=True)


def run(case: Callable[[Owner, str], Awaitable[None]]) -> None:
    async def whole() -> None:
        owner = Owner()
        await owner.log.create_topics(spec.CLUSTER)
        app = create_read_service({PARTITION: owner.view}, owner.is_held, SECRET, lambda: NOW)
        async with served(app) as endpoint:
            await case(owner, endpoint)

    asyncio.run(whole())


def test_every_operation_gives_what_it_gives_in_one_process() -> None:
    async def case(owner: Owner, endpoint: str) -> None:
        local = ViewReads({PARTITION: owner.view})
        await owner.says(endpoint, {PARTITION})
        async with RemoteReads(owner.log, SECRET, lambda: NOW) as far:
            bucket = await far.bucket(B)
            assert bucket is not None
            assert bucket == await local.bucket(B)
            for key in ("a/1", "none"):
                assert await far.current(B, key) == await local.current(B, key)
            for asked in (("", "", "", 10), ("a", "/", "", 10), ("", "", "a/1", 1)):
                assert await far.listing(B, bucket, *asked) == await local.listing(B, bucket, *asked)
            assert await far.upload(B, bucket, "big", "upload") == await local.upload(B, bucket, "big", "upload")
            every = ("", "", ("", ""), 10)
            assert await far.uploads(B, bucket, *every) == await local.uploads(B, bucket, *every)
            assert await far.parts(B, "upload", 0, 10) == await local.parts(B, "upload", 0, 10)

    run(case)


def test_buckets_are_those_of_every_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "DEADLINE_S", 0.3)

    async def case(owner: Owner, endpoint: str) -> None:
        views = {number: owner.view if number == PARTITION else MemoryView() for number in range(BUCKET_PARTITIONS)}
        app = create_read_service(views, lambda _: True, SECRET, lambda: NOW)
        async with served(app) as every, RemoteReads(owner.log, SECRET, lambda: NOW) as far:
            await owner.says(every, set(views) - {5})
            assert far.unready() != []
            with pytest.raises(ReadUnavailable, match="partition 5 cannot be read: nobody owns it"):
                await far.buckets()  # one is missing: never a short list
            await owner.says(every, set(views))
            assert [name for name, _ in await far.buckets()] == [B]
            assert far.unready() == []

    run(case)


def test_a_question_goes_to_the_next_owner_when_the_one_before_is_gone() -> None:
    async def case(owner: Owner, endpoint: str) -> None:
        await owner.says("http://127.0.0.1:9", {PARTITION})
        async with RemoteReads(owner.log, SECRET, lambda: NOW) as far:
            asking = asyncio.create_task(far.bucket(B))
            await asyncio.sleep(0.1)
            assert not asking.done()
            await owner.says(endpoint, {PARTITION})
            assert await asking is not None

    run(case)


@pytest.mark.parametrize(
    ("path", "is_signed", "status"),
    [
        (f"{PARTITION}/bucket?args={encode_arguments((B,))}", True, 200),
        (f"{PARTITION}/bucket?args={encode_arguments((B,))}", False, 401),
        (f"{(PARTITION + 1) % 16}/bucket?args={encode_arguments((B,))}", True, NOT_HELD),
        (f"{PARTITION}/close?args={encode_arguments(())}", True, 404),
        (f"{PARTITION}/bucket?args=AAA", True, 400),
        (f"{PARTITION}/bucket?args={encode_arguments((1,))}", True, 400),
    ],
)
def test_what_is_refused(path: str, is_signed: bool, status: int) -> None:
    async def case(_: Owner, endpoint: str) -> None:
        target = f"/partitions/{path}"
        headers = {"authorization": SECRET.sign("GET", target, "", "", NOW)} if is_signed else {}
        async with ClientSession(endpoint) as session, session.get(target, headers=headers) as answer:
            assert answer.status == status

    run(case)


def test_a_read_that_ends_behind_its_lease_is_not_answered() -> None:
    async def case(owner: Owner, endpoint: str) -> None:
        owner.reads_until_lost = 2  # held before the read, lost behind it
        target = f"/partitions/{PARTITION}/bucket?args={encode_arguments((B,))}"
        headers = {"authorization": SECRET.sign("GET", target, "", "", NOW)}
        async with ClientSession(endpoint) as session, session.get(target, headers=headers) as answer:
            assert answer.status == NOT_HELD

    run(case)
