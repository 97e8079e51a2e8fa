"""A data node put together: what it stores and tells of its positions, and how it mends itself."""

import asyncio
import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from datanode.node import CLAIM_S, BlobRef, BlobUnavailable
from datanode.service import NodeService
from tests.datanode.bench import IDENTITY, OWN, PARTITION, Bench, DeafLog, bench, claim, payload, ref, release
from tests.datanode.stores import blob
from tests.virtual import now_ms
from topics.commands import HoldGroup
from topics.log import Entry
from topics.placement import Group
from topics.spec import TopicPartition

AT = TopicPartition("writes", 0)


@asynccontextmanager
async def serving(made: Bench) -> AsyncIterator[NodeService]:
    service = NodeService(IDENTITY, made.log, made.store, made.map, made.peers, made.submit, now_ms)
    running = asyncio.create_task(service.run())
    yield service
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_only_what_was_synced_is_told_and_stored() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN], [OWN])
        async with serving(made) as service:
            await made.writes(payload(1, b"one"))
            await service.member.replicas[0].reached(0) if service.member.replicas else await asyncio.sleep(0.05)
            assert (service.positions, made.store.position(0)) == ({}, None)
            await asyncio.sleep(2)
            assert (service.positions, made.store.position(0)) == ({0: 1}, 1)
            await made.writes(payload(2, b"two"), claim(3, b"large", "p"))
            await asyncio.sleep(2)
            assert (service.positions, made.store.position(0)) == ({0: 2}, 2)  # the third is still to be fetched

    bench(case)


@pytest.mark.parametrize("trouble", ["slow", "fails"])
def test_what_is_not_durable_in_the_log_does_not_count(trouble: str) -> None:
    async def case(made: Bench) -> None:
        made.place([OWN], [OWN])
        async with serving(made) as service:
            await made.log.append(AT, [Entry(blob(1), payload(1, b"one")[1])], durable=False)
            if trouble == "slow":
                made.log.hold.clear()
            else:
                made.log.fail_next = 3
            await asyncio.sleep(2)
            assert await made.has(1, b"one")
            assert (service.positions, made.store.position(0)) == ({}, None)
            made.log.lose_unsynced()
            made.log.hold.set()
            made.log.fail_next = 0
            assert await made.log.latest(AT) == 0

    bench(case)


def test_a_start_at_which_the_log_cannot_be_read_forgets_no_position() -> None:
    async def case(made: Bench) -> None:
        assert isinstance(made.log, DeafLog)
        made.place([OWN], [OWN])
        await made.writes(payload(1, b"one"), payload(2, b"two"))
        await made.store.sync({0: 2})
        await made.log.trim(AT, 2)
        made.log.deaf = 10
        async with serving(made) as service:
            await asyncio.sleep(3)
            assert (service.positions, made.store.position(0)) == ({}, 2)
            await asyncio.sleep(5)
            assert (service.positions, made.store.position(0)) == ({0: 2}, 2)
            assert made.said == []  # nothing was lost

    bench(case, log=DeafLog("cluster", now_ms))


def test_a_group_that_is_taken_again_tells_no_position_of_before() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN, "p"])
        await made.writes(*(payload(number, b"x") for number in range(9)))
        async with serving(made) as service:
            await asyncio.sleep(2)
            assert service.positions == {0: 9}
            made.place(["p"], ["p"])
            await asyncio.sleep(CLAIM_S + 0.5)
            assert (service.positions, made.store.position(0)) == ({}, None)
            made.place([OWN, "p"], ["p"])
            await asyncio.sleep(0.01)
            assert (service.positions, list(service.member.replicas)) == ({}, [0])

    bench(case)


async def large(made: Bench, number: int, data: bytes) -> None:
    writer = made.store.create(0, blob(number), 3, len(data))
    await writer.write(data)
    await writer.commit()


DATA = bytes(range(256)) * 400


def test_a_damaged_blob_is_fetched_and_takes_its_old_place() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN, "p"])
        made.peers["p"].has(ref(1), DATA)
        made.peers["p"].is_dead = True
        await large(made, 1, DATA)
        made.damage()
        async with serving(made) as service:
            await asyncio.sleep(0.1)
            service.damaged(0, blob(1))
            service.damaged(0, blob(1))
            await asyncio.sleep(1)
            assert (service.repaired, service.beyond_repair) == (0, set())  # tried again until somebody answers
            made.peers["p"].is_dead = False
            await asyncio.sleep(6)
            assert (service.repaired, service.beyond_repair) == (1, set())
            assert await made.has(1, DATA)

    bench(case)


def test_what_is_whole_after_all_is_left_alone() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN, "p"])
        await large(made, 1, DATA)
        async with serving(made) as service:
            await asyncio.sleep(0.1)
            for number in (1, 2):  # the second is not here
                service.damaged(0, blob(number))
            await asyncio.sleep(1)
            assert (service.repaired, service.beyond_repair, made.peers["p"].asked) == (0, set(), [])

    bench(case)


def test_what_nobody_else_has_is_beyond_repair_and_told(caplog: pytest.LogCaptureFixture) -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN, "p"])
        await large(made, 1, DATA)
        made.damage()
        async with serving(made) as service:
            await asyncio.sleep(0.1)
            service.damaged(0, blob(1))
            await asyncio.sleep(1)
            assert service.beyond_repair == {(0, blob(1))}
            made.peers["p"].has(ref(1), DATA)
            service.damaged(0, blob(1))  # found again
            await asyncio.sleep(1)
            assert (service.repaired, service.beyond_repair) == (1, set())

    bench(case)
    assert "damaged here and cannot be had elsewhere" in caplog.text


def test_what_no_holder_has_is_released_where_the_group_is_not_held() -> None:
    """In a volume that failed to sync it would keep the copy of its group from its end."""

    async def case(made: Bench) -> None:
        made.place([OWN, "p"], ["p"])
        await large(made, 1, DATA)
        made.damage()
        made.store.volumes.all[0].has_failed = True
        made.store.volumes.all[0].note_unsynced([0])
        async with serving(made) as service:
            await asyncio.sleep(60)
            assert (made.store.has(0, blob(1)), service.beyond_repair) == (False, set())
            assert HoldGroup(OWN, "boot", 0, holds=True) in made.said

    bench(case)


def test_before_the_map_is_known_nothing_is_beyond_repair() -> None:
    async def case(made: Bench) -> None:
        await large(made, 1, DATA)
        made.damage()
        async with serving(made) as service:
            service.damaged(0, blob(1))
            await asyncio.sleep(20)
            assert service.beyond_repair == set()
            made.place([OWN, "p"], [OWN, "p"])
            made.peers["p"].has(ref(1), DATA)
            await asyncio.sleep(6)
            assert service.repaired == 1

    bench(case)


def test_what_cannot_be_read_is_fetched_and_takes_its_old_place() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN, "p"], [OWN, "p"])
        made.peers["p"].has(ref(1), DATA)
        await large(made, 1, DATA)
        made.break_sector(1)
        async with serving(made) as service:
            with pytest.raises(BlobUnavailable):
                await service.node.read(ref(1), 0, len(DATA), -1)
            await asyncio.sleep(1)
            assert (service.repaired, service.beyond_repair) == (1, set())
            assert await service.node.read(ref(1), 0, len(DATA), -1) == DATA

    bench(case)


def test_one_record_beyond_repair_in_a_volume_that_failed_to_sync_holds_back_only_its_group() -> None:
    async def case(made: Bench) -> None:
        made.place(groups=[Group([OWN, "p"], [OWN, "p"])] * 3)
        async with serving(made) as service:
            for group in range(3):
                await made.writes(payload(group, DATA), group=group)
            await asyncio.sleep(0.05)
            places = {group: made.store.find(group, blob(group)) for group in range(3)}
            volumes = {group: place.volume for group, place in places.items() if place}
            assert sorted(volumes.values()) == [0, 1, 2]
            made.faults.left, made.faults.left_errno = 0, errno.EIO  # the next sync: what the volume had is gone
            await asyncio.sleep(2)
            (bad,) = [group for group, volume in volumes.items() if made.store.volumes.all[volume].has_failed]
            good = {0, 1, 2} - {bad}
            await made.log.trim(TopicPartition("writes", bad), 1)  # nor does the log have it any more
            await asyncio.sleep(40)
            assert service.positions == dict.fromkeys(good, 1)
            await made.writes(payload(7, b"more"), group=min(good))
            await asyncio.sleep(3)
            assert service.positions == {min(good): 2, max(good): 1}
            made.peers["p"].has(ref(bad, bad), DATA)
            service.damaged(bad, blob(bad))
            await asyncio.sleep(30)
            assert service.positions == {bad: 1, min(good): 2, max(good): 1}
            assert volumes[bad] not in made.store.volumes.all

    bench(case)


def test_what_a_failed_sync_lost_is_taken_from_the_log_again() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN], [OWN])
        async with serving(made) as service:
            await made.writes(payload(1, b"one"), payload(2, b"two"), release(2))
            await asyncio.sleep(0.05)
            made.faults.sync_errno = errno.EIO
            await asyncio.sleep(2)
            assert made.faults.syncs_failed == 1
            assert service.positions == {}
            assert await service.node.read(ref(1), 0, 3, -1) == b"one"
            await asyncio.sleep(30)
            assert (service.positions, made.store.position(0)) == ({0: 3}, 3)
            assert [await made.has(1, b"one"), made.store.has(0, blob(2))] == [True, False]
            assert service.beyond_repair == set()

    bench(case)


def test_what_a_full_disk_did_not_take_is_read_from_the_log() -> None:
    async def case(made: Bench) -> None:
        made.place([OWN], [OWN])
        async with serving(made) as service:
            await asyncio.sleep(0.1)
            made.faults.room_bytes = 0
            await made.writes(payload(1, b"one"))
            await asyncio.sleep(2)
            assert not made.store.has(0, blob(1))
            assert await service.node.read(ref(1), 1, 2, 0) == b"ne"
            with pytest.raises(OSError, match="still to be fetched"):
                await service.node.read(BlobRef(0, blob(1), PARTITION, crc32c=7), 0, 3, 0)  # other bytes than these

    bench(case)
