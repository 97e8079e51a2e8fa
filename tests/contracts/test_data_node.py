"""The contract of the `DataNode` port: called in one process, over HTTP, and over the network of the simulation."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from awscrt.checksums import crc32c

from datanode.node import BlobRef, BlobUnavailable, DataNode, Piece
from datanode.store import BlobExists, Held
from tests.datanode.nodes import OWN, Parts, node_parts, opened, put
from tests.datanode.stores import blob, volume_of
from tests.flips import flip
from tests.simulation.cluster.processes import ClusterLoop
from tests.virtual import START_S
from topics import writes
from topics.log import Entry
from topics.spec import TopicPartition

Case = Callable[[DataNode, Parts], Awaitable[None]]
AT = TopicPartition("writes", 0)
REF, OTHER = BlobRef(0, blob(1), 3), BlobRef(0, blob(2), 5)


async def reads_what_was_committed(node: DataNode, _: Parts) -> None:
    for number, size in enumerate((1, 65_535, 65_536, 65_537, 700_001)):
        ref, data = BlobRef(0, blob(number), 3), os.urandom(size)
        assert await put(node, ref, data) == (crc32c(data), [OWN])
        for start, length in ((0, 1), (0, size), (size - 1, 1), (size // 2, size // 3)):
            if length:
                assert await node.read(ref, start, length, -1) == data[start : start + length]


async def shows_nothing_before_the_commit(node: DataNode, _: Parts) -> None:
    writer = await node.create(REF, 300_000, leads=False)
    await writer.write(bytes(300_000))
    with pytest.raises(BlobUnavailable):
        await node.read(REF, 0, 1, -1)
    await writer.commit()
    assert await node.read(REF, 0, 1, -1) == b"\0"


async def forgets_what_was_aborted(node: DataNode, parts: Parts) -> None:
    writer = await node.create(REF, 300_000, leads=False)
    await writer.write(bytes(200_000))
    await writer.abort()
    with pytest.raises(BlobUnavailable):
        await node.read(REF, 0, 1, -1)
    await put(node, REF, b"whole")
    assert await node.read(REF, 0, 5, -1) == b"whole"
    await parts.store.sync()  # every region is settled: nothing is left open by the one that broke off
    assert [held.blob for held in parts.store.blobs(0)] == [REF.blob]


async def refuses_more_and_fewer_bytes_than_announced(node: DataNode, _: Parts) -> None:
    longer = await node.create(REF, 10, leads=False)
    with pytest.raises(ValueError, match="more bytes"):
        await longer.write(bytes(11))
        await longer.commit()
    await longer.abort()
    shorter = await node.create(REF, 10, leads=False)
    await shorter.write(bytes(9))
    with pytest.raises(ValueError, match=r"announced|arrived"):
        await shorter.commit()
    await shorter.abort()
    with pytest.raises(BlobUnavailable):
        await node.read(REF, 0, 1, -1)


async def never_replaces_a_blob(node: DataNode, _: Parts) -> None:
    await put(node, REF, b"first")
    with pytest.raises(BlobExists):
        await put(node, REF, b"again")
    assert await node.read(REF, 0, 5, -1) == b"first"


async def refuses_bytes_outside_of_a_blob(node: DataNode, _: Parts) -> None:
    await put(node, REF, b"five!")
    for start, size in ((0, 6), (5, 1), (1_000_000, 1)):
        with pytest.raises(ValueError, match="has 5 bytes"):
            await node.read(REF, start, size, -1)


async def waits_for_a_position_of_writes(node: DataNode, parts: Parts) -> None:
    reading = asyncio.create_task(node.read(REF, 0, 3, 1))
    listing = asyncio.create_task(node.blobs(0, b"", 2))
    await parts.log.append(AT, [Entry(OTHER.blob, writes.payload(5, b"other"))], durable=False)
    await parts.log.append(AT, [Entry(REF.blob, writes.payload(3, b"abc"))], durable=False)
    assert await reading == b"abc"
    assert await listing == [Held(REF.blob, 3, 3, crc32c(b"abc")), Held(OTHER.blob, 5, 5, crc32c(b"other"))]


async def tells_that_a_blob_is_gone_only_of_a_group_that_it_holds(node: DataNode, _: Parts) -> None:
    await put(node, REF, b"abc")
    with pytest.raises(BlobUnavailable, match="not on this node"):
        await node.read(OTHER, 0, 3, -1)
    with pytest.raises(OSError, match="may still come"):
        await node.read(REF._replace(group=1), 0, 3, -1)


async def lists_a_group_in_pages(node: DataNode, _: Parts) -> None:
    for number in (3, 1, 2):
        await put(node, BlobRef(0, blob(number), number), bytes(number))
    assert await node.blobs(0, blob(1), 0) == [
        Held(blob(2), 2, 2, crc32c(bytes(2))),
        Held(blob(3), 3, 3, crc32c(bytes(3))),
    ]
    assert await node.blobs(0, blob(3), 0) == []


async def lists_no_group_that_it_still_copies(node: DataNode, _: Parts) -> None:
    with pytest.raises(OSError, match="does not have all of group 1"):
        await node.blobs(1, b"", 0)


async def has_nothing_to_do_with_a_group_that_it_does_not_serve(node: DataNode, _: Parts) -> None:
    with pytest.raises(OSError, match="does not serve group 2"):
        await node.blobs(2, b"", 0)
    with pytest.raises(OSError, match="does not serve group 2"):
        await put(node, REF._replace(group=2), b"abc")


async def leads_a_write_alone_where_one_copy_is_enough(node: DataNode, _: Parts) -> None:
    data = os.urandom(300_000)
    assert await put(node, REF, data, leads=True) == (crc32c(data), [OWN])
    assert await node.read(REF, 0, len(data), -1) == data


async def writes_many_at_once(node: DataNode, _: Parts) -> None:
    payloads = {BlobRef(0, blob(number), 3): os.urandom(200_000 + number) for number in range(12)}
    await asyncio.gather(*(put(node, ref, data) for ref, data in payloads.items()))
    for ref, data in payloads.items():
        assert await node.read(ref, 0, len(data), -1) == data


async def gives_no_other_bytes_than_the_payload_is_known_by(node: DataNode, parts: Parts) -> None:
    for size in (5, 65_536, 700_001):
        ref, data = BlobRef(0, blob(size), 3), os.urandom(size)
        await put(node, ref, data)
        assert await node.read(ref._replace(crc32c=crc32c(data)), size - 5, 5, -1) == data[-5:]
        for start in (0, size - 5):
            with pytest.raises(BlobUnavailable, match="other bytes"):
                await node.read(ref._replace(crc32c=crc32c(data) ^ 1), start, 5, -1)


async def never_serves_damaged_bytes_and_tells_of_them(node: DataNode, parts: Parts) -> None:
    data = os.urandom(200_000)
    await put(node, REF, data)
    path = volume_of(parts.folder, 1)
    flip(path, path.read_bytes().index(data[:100]) + 70_000)
    with pytest.raises(BlobUnavailable, match="damaged"):
        await node.read(REF, 65_536, 65_536, -1)
    assert parts.damaged == [(0, REF.blob)]
    assert await node.read(REF, 131_072, 10, -1) == data[131_072:131_082]


async def gives_pieces_of_many_blobs_each_or_why_not(node: DataNode, parts: Parts) -> None:
    data = {number: os.urandom(100_000 + number) for number in (1, 2, 3)}
    for number, each in data.items():
        await put(node, BlobRef(0, blob(number), 3), each)
    path = volume_of(parts.folder, 3)
    flip(path, path.read_bytes().index(data[3][:100]) + 70_000)
    wanted = [
        Piece(blob(1), 0, 100_001, crc32c(data[1])),
        Piece(blob(2), 65_000, 1_000),
        Piece(blob(2), 0, 10, crc32c(data[1])),
        Piece(blob(2), 0, 100_003),
        Piece(blob(3), 70_000, 10),
        Piece(blob(4), 0, 10),
    ]
    found = await node.pieces(0, wanted, -1)
    assert found[:2] == [data[1], data[2][65_000:66_000]]
    assert [type(each) for each in found[2:]] == [BlobUnavailable] * 4
    for why, refusal in zip(("other bytes", "another length", "damaged", "not on this node"), found[2:], strict=True):
        assert why in str(refusal)
    (unknown,) = await node.pieces(1, [Piece(blob(4), 0, 10)], -1)
    assert isinstance(unknown, OSError)  # it still copies that group
    assert "may still come" in str(unknown)


async def gives_pieces_when_it_has_read_so_far(node: DataNode, parts: Parts) -> None:
    asking = asyncio.create_task(node.pieces(0, [Piece(REF.blob, 0, 3)], 0))
    await parts.log.append(AT, [Entry(REF.blob, writes.payload(3, b"abc"))], durable=False)
    assert await asking == [b"abc"]


CASES: list[Case] = [
    reads_what_was_committed,
    shows_nothing_before_the_commit,
    forgets_what_was_aborted,
    refuses_more_and_fewer_bytes_than_announced,
    never_replaces_a_blob,
    refuses_bytes_outside_of_a_blob,
    waits_for_a_position_of_writes,
    tells_that_a_blob_is_gone_only_of_a_group_that_it_holds,
    lists_a_group_in_pages,
    has_nothing_to_do_with_a_group_that_it_does_not_serve,
    lists_no_group_that_it_still_copies,
    leads_a_write_alone_where_one_copy_is_enough,
    writes_many_at_once,
    gives_no_other_bytes_than_the_payload_is_known_by,
    never_serves_damaged_bytes_and_tells_of_them,
    gives_pieces_of_many_blobs_each_or_why_not,
    gives_pieces_when_it_has_read_so_far,
]


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "local": asyncio.new_event_loop,
    "remote": asyncio.new_event_loop,
    "simulated": lambda: ClusterLoop(random.Random(0), START_S),
}


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_data_node(kind: str, case: Case, tmp_path: Path) -> None:
    async def run() -> None:
        async with node_parts(tmp_path) as parts, opened(kind, parts) as node:
            await case(node, parts)

    with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
        runner.run(run())
