"""Blobs from peers: what a claim check names, what a new member copies, what is found damaged or missing.

Rules: these three do not wait for each other; each has places of its own, and of copies the next is one of a group with the
fewest holders left. All together are not faster than the operator allows, so that clients do not notice; nor is what a
source gives. Small blobs come by the page: one answer and one write for many.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from datanode.node import BlobUnavailable, Nodes, Piece
from datanode.placement import PlacementMap
from datanode.store import BlobExists, BlobMissing, NewBlob, VolumeStore
from datanode.turns import Rate, Turns

WINDOW_BYTES = 1 << 20
SMALL_BYTES = 64 << 10  # a blob of no more comes with others
PAGE_BYTES, PAGE_BLOBS = 1 << 20, 250  # of one answer; the second: ~3 ms of the loop
CLAIMS_AT_ONCE, REPAIRS_AT_ONCE, COPIES_AT_ONCE = 8, 2, 4  # of copies: pages of groups
LARGE_AT_ONCE = 4  # of one page
log_ = logging.getLogger(__name__)


class Wanted(NamedTuple):
    group: int
    blob: bytes
    partition: int
    length: int
    holders: tuple[str, ...] = ()  # names that are known to have it
    crc32c: int | None = None  # where it is known
    position: int = -1  # of `writes`, that a source must have consumed: what is ahead of its claim may be damaged


class Fetch:
    def __init__(self, store: VolumeStore, own: str, known: PlacementMap, nodes: Nodes, bytes_per_s: float) -> None:
        self._store = store
        self._own = own
        self._map = known
        self._nodes = nodes
        self._rate = Rate(bytes_per_s)
        self.claims, self.repairs, self.copies = Turns(CLAIMS_AT_ONCE), Turns(REPAIRS_AT_ONCE), Turns(COPIES_AT_ONCE)
        self.fetched_bytes = 0
        self.fetched_blobs = 0

    async def is_here(self, wanted: Wanted) -> bool:
        """Whether the blob is here as it is wanted."""
        try:
            return self._is_here(wanted, is_cached=True)
        except BlockingIOError:
            return not await self.lacking([wanted])

    def _is_here(self, wanted: Wanted, *, is_cached: bool = False) -> bool:
        if wanted.crc32c is None:
            return self._store.has(wanted.group, wanted.blob)
        return self._store.is_of(wanted.group, wanted.blob, wanted.length, wanted.crc32c, is_cached=is_cached)

    async def lacking(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Those that are not here. It reads a few bytes of each, so it does that in a thread."""
        return await self._store.disk.run(lambda: [each for each in wanted if not self._is_here(each)])

    async def get(self, wanted: Wanted, sources: Sequence[str], *, replace: bool = False) -> None:
        """The blob into the volumes, durable on return. `replace`: one that is here, but damaged. One with other bytes than
        those that are wanted is damaged, too.

        Raises `BlobUnavailable` where every source says that it has none, or `OSError` where some could not be asked.
        """
        missing = BlobUnavailable(f"blob {wanted.blob.hex()}: there is no other node to ask")
        failure: OSError | None = None
        for name in self._ranked([*wanted.holders, *sources]):
            try:
                return await self._get_from(name, wanted, replace=replace)
            except (BlobExists, BlobMissing):
                return None  # it has come meanwhile, or was released
            except BlobUnavailable as error:
                missing = error
            except OSError as error:
                failure = error
        raise failure or missing

    async def get_all(self, wanted: Sequence[Wanted], sources: Sequence[str]) -> list[Exception]:
        """Blobs of one group; small ones are durable with the next sync of the store.

        What is returned is why some did not come, as `get` raises it. Raises `DiskFull`.
        """
        small = [each for each in wanted if each.length <= SMALL_BYTES and not self._store.has(each.group, each.blob)]
        others = set(wanted).difference(small)
        failures = [each for page in _pages(small) for each in await self._get_page(page, sources)]
        left = iter([each for each in wanted if each in others])

        async def take() -> None:
            for each in left:
                try:
                    await self.get(each, sources)
                except (BlobUnavailable, OSError) as error:
                    failures.append(error)

        await asyncio.gather(*(take() for _ in range(LARGE_AT_ONCE)))
        return failures

    def _ranked(self, names: Sequence[str]) -> list[str]:
        """Who is up before who is down."""
        others = [name for name in dict.fromkeys(names) if name != self._own]
        return sorted(others, key=lambda name: not self._map.current.is_up(name))

    async def _get_page(self, page: Sequence[Wanted], sources: Sequence[str]) -> list[Exception]:
        left = {each.blob: each for each in page}
        why: dict[bytes, Exception] = {}
        for name in self._ranked(sources):
            if not left:
                break
            try:
                given = await self._ask(name, list(left.values()))
            except OSError as error:
                why.update(dict.fromkeys(left, error))
                continue
            except BlobUnavailable as error:
                given = [error] * len(left)
            taken = await self._put(list(zip(left.values(), given, strict=True)))
            for each, answer in zip(list(left), given, strict=True):
                if each in taken:
                    del left[each]
                elif isinstance(answer, Exception) and not isinstance(why.get(each), OSError):
                    why[each] = answer
        return [why.get(blob) or BlobUnavailable(f"blob {blob.hex()}: there is no other node to ask") for blob in left]

    async def _ask(self, name: str, wanted: Sequence[Wanted]) -> "list[bytes | Exception]":
        await self._rate.take(sum(each.length for each in wanted))
        pieces = [Piece(each.blob, 0, each.length, each.crc32c) for each in wanted]
        return await self._pieces(name, wanted[0].group, pieces, max(each.position for each in wanted))

    async def _put(self, found: "Sequence[tuple[Wanted, bytes | Exception]]") -> set[bytes]:
        """What has come; what arrives on another way meanwhile counts as come."""
        fresh = [(each, data) for each, data in found if isinstance(data, bytes)]
        await self._store.put_all(
            [
                NewBlob(each.group, each.blob, each.partition, data)
                for each, data in fresh
                if not self._store.is_arriving(each.group, each.blob)
            ]
        )
        self.fetched_bytes += sum(each.length for each, _ in fresh)
        self.fetched_blobs += len(fresh)
        return {each.blob for each, _ in fresh}

    async def _get_from(self, name: str, wanted: Wanted, *, replace: bool) -> None:
        first = await self._read(name, wanted, 0, min(WINDOW_BYTES, wanted.length))
        await self._store.answers()
        if self._store.has(wanted.group, wanted.blob) and not await self.is_here(wanted):
            log_.error("blob %s of group %d came damaged, and is fetched anew", wanted.blob.hex(), wanted.group)
            replace = True
        if replace and not self._store.has(wanted.group, wanted.blob):
            raise BlobMissing(f"blob {wanted.blob.hex()} was released while it was fetched")
        writer = self._store.create(wanted.group, wanted.blob, wanted.partition, wanted.length, replace=replace)
        try:
            await writer.write(first)
            for start in range(len(first), wanted.length, WINDOW_BYTES):
                await writer.write(await self._read(name, wanted, start, min(WINDOW_BYTES, wanted.length - start)))
            await writer.commit()
        except BaseException:
            await writer.abort()
            raise
        self.fetched_bytes += wanted.length
        self.fetched_blobs += 1

    async def _read(self, name: str, wanted: Wanted, start: int, size: int) -> bytes:
        await self._rate.take(size)
        piece = Piece(wanted.blob, start, size, wanted.crc32c)
        (found,) = await self._pieces(name, wanted.group, [piece], wanted.position)
        if isinstance(found, Exception):
            raise found
        return found

    async def _pieces(self, name: str, group: int, pieces: Sequence[Piece], position: int) -> "list[bytes | Exception]":
        endpoint = self._map.current.endpoint(name)
        if not endpoint:
            raise BlobUnavailable(f"node {name} is not known")
        return await self._nodes(endpoint).pieces(group, pieces, position)


def _pages(wanted: Sequence[Wanted]) -> Iterator[list[Wanted]]:
    page, size = list[Wanted](), 0
    for each in wanted:
        if page and (size + each.length > PAGE_BYTES or len(page) >= PAGE_BLOBS):
            yield page
            page, size = [], 0
        page.append(each)
        size += each.length
    if page:
        yield page
