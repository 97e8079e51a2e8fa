"""The contract of the `DataNode` port: called in one process, and over HTTP."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from awscrt.checksums import crc32c

from datanode.layout import HEADER_BYTES
from datanode.node import BlobUnavailable, DataNode
from datanode.store import BlobExists
from tests.datanode.nodes import Parts, node_parts, opened
from topics import writes
from topics.log import Entry
from topics.spec import TopicPartition

Case = Callable[[DataNode, Parts], Awaitable[None]]
ID_AT = 8  # in a record's header
BLOB, OTHER = bytes(15) + b"\1", bytes(15) + b"\2"


async def put(node: DataNode, blob: bytes, data: bytes, piece: int = 100_000) -> int:
    writer = await node.create(blob, len(data))
    for at in range(0, len(data), piece):
        await writer.write(data[at : at + piece])
    await writer.commit()
    return writer.crc32c


async def reads_what_was_committed(node: DataNode, _: Parts) -> None:
    for number, size in enumerate((1, 65_535, 65_536, 65_537, 700_001)):
        blob, data = number.to_bytes(16, "big"), os.urandom(size)
        assert await put(node, blob, data) == crc32c(data)
        for start, length in ((0, 1), (0, size), (size - 1, 1), (size // 2, size // 3)):
            if length:
                assert await node.read(blob, start, length, -1) == data[start : start + length]


async def shows_nothing_before_the_commit(node: DataNode, _: Parts) -> None:
    writer = await node.create(BLOB, 300_000)
    await writer.write(bytes(300_000))
    with pytest.raises(BlobUnavailable):
        await node.read(BLOB, 0, 1, -1)
    await writer.commit()
    assert await node.read(BLOB, 0, 1, -1) == b"\0"


async def forgets_what_was_aborted(node: DataNode, parts: Parts) -> None:
    writer = await node.create(BLOB, 300_000)
    await writer.write(bytes(200_000))
    await writer.abort()
    with pytest.raises(BlobUnavailable):
        await node.read(BLOB, 0, 1, -1)
    await put(node, BLOB, b"whole")
    assert await node.read(BLOB, 0, 5, -1) == b"whole"
    await parts.store.sync()  # every region is settled: nothing is left open by the one that broke off
    assert [held.blob for held in parts.store.blobs(0)] == [BLOB]


async def refuses_more_and_fewer_bytes_than_announced(node: DataNode, _: Parts) -> None:
    longer = await node.create(BLOB, 10)
    with pytest.raises(ValueError, match="more bytes"):
        await longer.write(bytes(11))
        await longer.commit()
    await longer.abort()
    shorter = await node.create(BLOB, 10)
    await shorter.write(bytes(9))
    with pytest.raises(ValueError, match=r"announced|arrived"):
        await shorter.commit()
    await shorter.abort()
    with pytest.raises(BlobUnavailable):
        await node.read(BLOB, 0, 1, -1)


async def never_replaces_a_blob(node: DataNode, _: Parts) -> None:
    await put(node, BLOB, b"first")
    with pytest.raises(BlobExists):
        await put(node, BLOB, b"again")
    assert await node.read(BLOB, 0, 5, -1) == b"first"


async def refuses_bytes_outside_of_a_blob(node: DataNode, _: Parts) -> None:
    await put(node, BLOB, b"five!")
    for start, size in ((0, 6), (5, 1), (1_000_000, 1)):
        with pytest.raises(ValueError, match="has 5 bytes"):
            await node.read(BLOB, start, size, -1)


async def waits_for_a_position_of_writes(node: DataNode, parts: Parts) -> None:
    reading = asyncio.create_task(node.read(BLOB, 0, 3, 1))
    at = TopicPartition("writes", 0)
    await parts.log.append(at, [Entry(OTHER, writes.payload(b"other"))], durable=False)
    await parts.log.append(at, [Entry(BLOB, writes.payload(b"abc"))], durable=False)
    assert await reading == b"abc"


async def writes_many_at_once(node: DataNode, _: Parts) -> None:
    payloads = {number.to_bytes(16, "big"): os.urandom(200_000 + number) for number in range(12)}
    await asyncio.gather(*(put(node, blob, data) for blob, data in payloads.items()))
    for blob, data in payloads.items():
        assert await node.read(blob, 0, len(data), -1) == data


async def never_serves_damaged_bytes(node: DataNode, parts: Parts) -> None:
    data = os.urandom(200_000)
    await put(node, BLOB, data)
    flip(parts, BLOB, 70_000)
    with pytest.raises(BlobUnavailable, match="damaged"):
        await node.read(BLOB, 65_536, 65_536, -1)
    assert await node.read(BLOB, 131_072, 10, -1) == data[131_072:131_082]


def flip(parts: Parts, blob: bytes, at: int) -> None:
    """One bit of the blob's payload, on the disk."""
    (path,) = [each for each in parts.folder.glob("volumes/*.vol") if blob in each.read_bytes()]
    data = path.read_bytes()
    start = data.index(blob) + HEADER_BYTES - ID_AT + at
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes([data[start] ^ 1]))


CASES: list[Case] = [
    reads_what_was_committed,
    shows_nothing_before_the_commit,
    forgets_what_was_aborted,
    refuses_more_and_fewer_bytes_than_announced,
    never_replaces_a_blob,
    refuses_bytes_outside_of_a_blob,
    waits_for_a_position_of_writes,
    writes_many_at_once,
    never_serves_damaged_bytes,
]


@pytest.mark.parametrize("kind", ["local", "remote"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_data_node(kind: str, case: Case, tmp_path: Path) -> None:
    async def run() -> None:
        async with node_parts(tmp_path) as parts, opened(kind, parts) as node:
            await case(node, parts)

    asyncio.run(run())
