"""What must hold of data nodes at every moment: looked at several times a second while a world runs.

A fault that is mended later (by an audit, a repair, a copy) is a fault all the same, and is seen here when it happens.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from datanode.orphans import minted_ms
from datanode.replica import GroupReplica
from tests.simulation.cluster.broker import Weather
from tests.simulation.data.checks import referred
from tests.simulation.data.host import TIMES, Host
from tests.simulation.data.owner import PARTITION, Owner
from tests.simulation.invariants import (
    ClaimsNameHolders,
    FailedDisksAreOut,
    HoldersHaveAll,
    NobodyStandsStill,
    SettlingGoesOn,
    StartsTakeLittleMemory,
    WritesStandOnAQuorum,
)
from topics import writes
from topics.log import Entry
from topics.objects import Extent
from topics.placement import COPIES

EVERY_S = 0.25
QUORUM = COPIES // 2 + 1
SETTLED_S = 2.5  # within which what was consumed is settled
OUT_S = 5.0  # a failing disk is told for 1 s, and heartbeats and judges come each second
WORD_S = 3.0  # an append in bad weather may be under way for so long
ROWS_AT_START_MAX = 6  # two blobs, and the counts of their volumes


class Watched(Protocol):
    """What is needed of the world."""

    hosts: list[Host]
    owner: Owner
    weather: Weather

    def note(self, what: str) -> None: ...


class Watch:
    def __init__(self, watched: Watched) -> None:
        self._in = watched
        self._settled: dict[GroupReplica, tuple[int | None, float]] = {}  # how far, and since when
        self._noted = set[object]()
        self._named_in_vain: dict[bytes, list[str]] = {}  # blob → who did not have it when its first claim came
        self._failing_since_s: dict[str, float] = {}  # and nothing else is wrong with the node

    async def run(self) -> None:
        """Raises `InvariantBroken`."""
        while True:
            await asyncio.sleep(EVERY_S)
            self._note()
            self._check_holders()
            self._check_failed_disks()
            for host in self._in.hosts:
                self._check_settling(host)
                if host.faults.stood_still:
                    raise NobodyStandsStill(
                        f"{host.name} called a disk that hung on the loop: {host.faults.stood_still[0]}"
                    )
                if host.rows_at_start > ROWS_AT_START_MAX:
                    raise StartsTakeLittleMemory(f"{host.name} wrote {host.rows_at_start} rows at once")

    def _note(self) -> None:
        """What must happen for the rest to mean something, each once."""
        placement = self._in.owner.placement()
        for host in filter(lambda host: host.service is not None, self._in.hosts):
            assert host.service is not None
            if host.service.disk_failure and host.name in placement.nodes and not placement.is_up(host.name):
                self._note_once(host.machine, "node out for its disk")
            for volume in host.service.store.volumes.all.values():
                if volume.has_failed:
                    self._note_once(volume, "volume that cannot be synced")

    def _note_once(self, of: object, what: str) -> None:
        if of not in self._noted:
            self._noted.add(of)
            self._in.note(what)

    def landed(self, group: int, entries: Sequence[Entry]) -> None:
        """In `writes`. Who was disturbed since the blob was minted may have lost it."""
        for blob, write in ((each.key, writes.decode(each.value)) for each in entries):
            if isinstance(write, writes.Claim) and blob not in self._named_in_vain:
                named = (host for host in self._in.hosts if host.name in write.holders)
                self._named_in_vain[blob] = [
                    host.name for host in named if host.disturbed_s * 1000 < minted_ms(blob) and not _has(host, group, blob)
                ]

    def check_stored(self, extents: Sequence[Extent], begun_s: float) -> None:
        """Of a large payload that stands now. Who was disturbed meanwhile may have had it. What is as old as an orphan may
        be released: the command that refers to it is rejected then."""
        orphans_below_ms = (asyncio.get_running_loop().time() - TIMES.orphan_after_s) * 1000
        for extent in extents:
            blob = bytes.fromhex(extent.blob)
            if minted_ms(blob) <= orphans_below_ms:
                continue
            if names := self._named_in_vain[blob]:
                raise ClaimsNameHolders(f"{names} do not have blob {extent.blob} of group {extent.group}")
            copies = sum(host.disturbed_s >= begun_s or _has(host, extent.group, blob) for host in self._in.hosts)
            if copies < QUORUM:
                raise WritesStandOnAQuorum(f"{copies} nodes have blob {extent.blob} of group {extent.group}")

    def _check_holders(self) -> None:
        """What an audit claimed anew may be fetched still, as long as the log has that claim."""
        extents = referred(self._in.owner.views[PARTITION])
        for host in self._in.hosts:
            service = host.service
            if service is None or host.machine.is_dead:
                continue
            told = service.positions
            for (group, blob), extent in extents.items():
                is_told = service.member.holds(group) and extent.position < told.get(group, 0)
                if not is_told or _has(host, group, blob) or (group, blob) in host.mislaid:
                    continue
                wanted = service.member.replicas[group]._wanted.get(blob)
                if wanted is None or wanted[0] < told[group]:
                    raise HoldersHaveAll(f"{host.name} has no blob {extent.blob} of group {group}, at {extent.position}")

    def _check_failed_disks(self) -> None:
        now_s, placement = asyncio.get_running_loop().time(), self._in.owner.placement()
        for host in self._in.hosts:
            if not host.faults.is_broken or host.faults.hangs or not _lives(host):  # while it hangs, that is what is told
                self._failing_since_s[host.name] = now_s
            elif self._in.weather.is_bad:
                self._failing_since_s[host.name] = now_s + WORD_S
            since_s = max(self._failing_since_s.setdefault(host.name, now_s), host.up_since_s)
            if now_s - since_s > OUT_S and placement.is_up(host.name):
                raise FailedDisksAreOut(f"{host.name} is up, and its disk has failed for {now_s - since_s:.1f} s")

    def _check_settling(self, host: Host) -> None:
        if (service := host.service) is None:
            return
        now_s = asyncio.get_running_loop().time()
        failed = (volume for volume in service.store.volumes.all.values() if volume.has_failed)
        excused = service.member.lost.union(*(volume.doubtful for volume in failed))
        is_well = _lives(host) and host.faults.is_well and not host.table.fails
        for number, replica in service.member.replicas.items():
            known, since_s = self._settled.get(replica, (None, now_s))
            waits = is_well and number not in excused and replica.synced is not None and replica.synced < replica.settled
            if not waits or known != replica.synced:
                self._settled[replica] = replica.synced, now_s
            elif now_s - since_s > SETTLED_S:
                raise SettlingGoesOn(f"{host.name} has settled {known} of {replica.settled} of group {number}")


def _lives(host: Host) -> bool:
    return not (host.machine.is_dead or host.machine.is_paused)


def _has(host: Host, group: int, blob: bytes) -> bool:
    """Or nobody can say."""
    if host.service is None or host.table.fails:
        return host.table.fails
    return host.service.store.has(group, blob)
