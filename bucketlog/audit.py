"""The audit: are the blobs that metadata refers to with the nodes that are said to hold them?

Rules: an owner goes through the objects and parts of its partitions, a few at a time, in passes; how far it is it stores in
its folder. It reads a byte of each blob at each holder that is up, by the checksum that metadata has: damage is found,
too, and mended by that node. Where a holder has none and another does, the blob is claimed again in the group's `writes`:
who lacks it fetches it, as with any claim. What no holder has, of which none is away, is told as lost.
What is missing is looked up once more before anything comes of it, under the partition's lease: it may just have been
given back.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from datanode.node import BlobUnavailable, Nodes, Piece
from processors.machine import tables
from processors.view import Readable
from topics import writes
from topics.disk import Disk
from topics.log import Entry, Log, LogError
from topics.objects import Extent
from topics.placement import Placement
from topics.spec import TopicPartition

ROWS = 100  # of objects and parts, between two pauses
BLOBS = 250  # in one question to a node
PACE_S = 1.0
EVERY_S = 7 * 86_400.0  # from the start of one pass to the next
LOST_MAX = 10_000  # that are remembered
FILE = "audit.json"
log_ = logging.getLogger(__name__)


class Pass(msgspec.Struct, frozen=True):
    """What came of one, as far as it is."""

    ended_ms: int = 0
    blobs: int = 0  # that were asked for
    missing: int = 0  # of these at some holder, and claimed again


class Place(msgspec.Struct, frozen=True):
    """How far a partition's pass is."""

    after: str = ""  # hexadecimal: the key of the last row
    started_ms: int = 0
    is_over: bool = False
    found: Pass = Pass()
    last: Pass | None = None  # that went to its end


class Owned(NamedTuple):
    """What is owned here."""

    views: Callable[[], Mapping[int, Readable]]  # by partition
    is_held: Callable[[int], bool]  # whether a view is the latest


class _Asked(NamedTuple):
    row: bytes
    extent: Extent


_places = msgspec.json.Decoder(dict[int, Place])


class Auditor:
    def __init__(
        self,
        log: Log,
        owned: Owned,
        placement: Callable[[], Placement],
        nodes: Nodes,
        disk: Disk,
        clock_ms: Callable[[], int],
        pace_s: float = PACE_S,
        every_s: float = EVERY_S,
    ) -> None:
        self.verified = 0  # blobs, at one holder or more and missing at none
        self.missing = 0  # at some holder, and claimed again
        self.lost: set[str] = set()  # that no holder has
        self._log = log
        self._owned = owned
        self._placement = placement
        self._nodes = nodes
        self._disk = disk
        self._clock_ms = clock_ms
        self._pace_s = pace_s
        self._every_ms = int(every_s * 1000)
        self._places: dict[int, Place] = {}

    def last_pass(self) -> Pass | None:
        """Of all that is owned here, and ended with the first of them; None where some of it had none, yet."""
        passes = [self._places.get(number, Place()).last for number in self._owned.views()]
        ended = [each for each in passes if each is not None]
        if not ended or len(ended) < len(passes):
            return None
        first_ms = min(each.ended_ms for each in ended)
        return Pass(first_ms, sum(each.blobs for each in ended), sum(each.missing for each in ended))

    async def run(self) -> None:
        """For ever."""
        self._places = await self._disk.run(self._load)
        while True:
            await asyncio.sleep(self._pace_s)
            for number, view in self._owned.views().items():
                try:
                    await self._go_on(number, view)
                except (OSError, LogError) as error:
                    log_.warning("the audit of partition %d goes on later: %s", number, error)

    async def _go_on(self, number: int, view: Readable) -> None:
        place, now_ms = self._places.get(number, Place(started_ms=self._clock_ms())), self._clock_ms()
        if place.is_over and now_ms < place.started_ms + self._every_ms:
            return
        if place.is_over:
            place = Place(started_ms=now_ms, last=place.last)
        rows = list(islice(tables.referring(view, bytes.fromhex(place.after)), ROWS))
        by_group: dict[int, list[_Asked]] = defaultdict(list)
        for key, extents in rows:
            for extent in extents:
                by_group[extent.group].append(_Asked(key, extent))
        missing = self.missing
        for group, asked in by_group.items():
            for start in range(0, len(asked), BLOBS):
                await self._compare(number, view, group, asked[start : start + BLOBS])
        after = rows[-1][0].hex() if rows else ""
        blobs = sum(len(extents) for _, extents in rows)
        found = Pass(self._clock_ms(), place.found.blobs + blobs, place.found.missing + self.missing - missing)
        last = place.last if rows else found
        self._places[number] = Place(after, place.started_ms, not rows, found, last)
        stored = msgspec.json.encode(self._places)
        await self._disk.run(lambda: self._disk.store(FILE, stored))

    async def _compare(self, number: int, view: Readable, group: int, asked: Sequence[_Asked]) -> None:
        placement = self._placement()
        holders = placement.groups[group].holders or []
        answers = await self._ask(placement, holders, group, [each.extent for each in asked])
        for place, (row, extent) in enumerate(asked):
            found = {name: given[place] for name, given in answers.items()}
            having = [name for name, given in found.items() if isinstance(given, bytes)]
            if not any(isinstance(given, BlobUnavailable) for given in found.values()):
                self.verified += bool(having)
                self.lost.discard(extent.blob)
            elif extent in tables.referred_by(view, row) and self._owned.is_held(number):
                await self._mend(number, extent, having, len(found) == len(holders))

    async def _ask(
        self, placement: Placement, holders: Sequence[str], group: int, extents: Sequence[Extent]
    ) -> dict[str, list[bytes | Exception]]:
        """Of the holders that could be asked."""
        pieces = [Piece(bytes.fromhex(each.blob), 0, 1, each.crc32c) for each in extents]
        position = max(each.position for each in extents)
        found = {}
        for name in filter(placement.is_up, holders):
            try:
                found[name] = await self._nodes(placement.endpoint(name)).pieces(group, pieces, position)
            except OSError as error:
                log_.info("data node %s cannot be audited now: %s", name, error)
        return found

    async def _mend(self, number: int, extent: Extent, having: Sequence[str], are_all: bool) -> None:
        if having:
            claim = writes.claim(writes.Claim(number, extent.length, extent.crc32c, list(having)))
            at = TopicPartition("writes", extent.group)
            await self._log.append(at, [Entry(bytes.fromhex(extent.blob), claim)], durable=True)
            self.missing += 1
            log_.error("blob %s of group %d is missing at a holder, and is fetched", extent.blob, extent.group)
        elif are_all and extent.blob not in self.lost:
            log_.critical("blob %s of group %d is referred to, and no holder has it whole", extent.blob, extent.group)
            if len(self.lost) < LOST_MAX:
                self.lost.add(extent.blob)

    def _load(self) -> dict[int, Place]:
        try:
            return _places.decode(self._disk.load(FILE) or b"{}")
        except ValueError:
            log_.warning("where the audit was cannot be read; it begins anew")
            return {}
