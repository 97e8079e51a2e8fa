"""Other data nodes, in memory, with knobs for what a real one does on a bad day."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from awscrt.checksums import crc32c

from datanode.node import QUORUM_S, BlobRef, BlobUnavailable, Piece, TooFewCopies
from datanode.store import Held


class Peer:
    """Knobs: `is_dead` (nothing is answered but errors), `fails` (a call that is not), `slow_s` (before each answer),
    `damaged` and `late` (blobs that it says are damaged, or may still come), `breaks_at` (bytes of a blob that it takes, or
    gives, before it dies), `without` and `along` (peers that do not take what it leads, and that do)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.held: dict[int, dict[bytes, tuple[int, bytes]]] = defaultdict(dict)  # group → blob → partition, data
        self.is_dead = False
        self.fails = ""
        self.slow_s = 0.0
        self.damaged: set[bytes] = set()
        self.late: set[bytes] = set()
        self.breaks_at = 1 << 60
        self.without: list[str] = []
        self.along: list[str] = []
        self.quorums_s: list[float] = []  # how long it was to wait for one
        self.page = 1_000
        self.asked: list[str] = []  # the names of the calls
        self.given: list[bytes] = []  # blobs that other nodes asked for
        self.aborted = 0

    def has(self, ref: BlobRef, data: bytes) -> None:
        self.held[ref.group][ref.blob] = ref.partition, data

    async def create(self, ref: BlobRef, length: int, *, leads: bool, quorum_s: float = QUORUM_S) -> "PeerWriter":
        if leads:
            self.quorums_s.append(quorum_s)
        await self.answers("lead" if leads else "create")
        return PeerWriter(self, ref, length, self.without if leads else [])

    async def pieces(self, group: int, wanted: Sequence[Piece], position: int) -> list[bytes | Exception]:
        await self.answers("pieces")
        self.given += [each.blob for each in wanted]
        return [self._piece(BlobRef(group, each.blob, 0), each) for each in wanted]

    def _piece(self, ref: BlobRef, piece: Piece) -> bytes | Exception:
        try:
            return self._read(ref, piece.start, piece.size)
        except ValueError as error:
            return BlobUnavailable(str(error))
        except (BlobUnavailable, OSError) as error:
            return error

    async def read(self, ref: BlobRef, start: int, size: int, position: int) -> bytes:
        await self.answers("read")
        return self._read(ref, start, size)

    def _read(self, ref: BlobRef, start: int, size: int) -> bytes:
        if ref.blob in self.late:
            raise OSError("it may still come")
        if ref.blob not in self.held[ref.group] or ref.blob in self.damaged:
            raise BlobUnavailable(f"not on {self.name}")
        data = self.held[ref.group][ref.blob][1]
        if start + size > self.breaks_at:
            raise OSError(f"{self.name} is gone")
        if start + size > len(data):
            raise ValueError(f"{len(data)} bytes")
        return data[start : start + size]

    async def blobs(self, group: int, after: bytes, position: int) -> list[Held]:
        await self.answers("blobs")
        held = sorted(item for item in self.held[group].items() if item[0] > after)
        return [Held(blob, len(data), partition, crc32c(data)) for blob, (partition, data) in held[: self.page]]

    async def answers(self, call: str) -> None:
        self.asked.append(call)
        if self.slow_s:
            await asyncio.sleep(self.slow_s)
        if self.is_dead or call == self.fails:
            raise OSError(f"{self.name} is gone")


class PeerWriter:
    def __init__(self, peer: Peer, ref: BlobRef, length: int, without: list[str]) -> None:
        self._without = without
        self._peer = peer
        self._ref = ref
        self._length = length
        self._data = b""

    @property
    def crc32c(self) -> int:
        crc: int = crc32c(self._data)
        return crc

    async def write(self, data: bytes) -> None:
        await self._peer.answers("write")
        self._data += data
        if len(self._data) > self._peer.breaks_at:
            raise OSError(f"{self._peer.name} is gone")

    async def commit(self) -> list[str]:
        await self._peer.answers("commit")
        assert len(self._data) == self._length
        if self._without:
            raise TooFewCopies("only 1 of 2 copies could be written", self._without)
        self._peer.has(self._ref, self._data)
        return [self._peer.name, *self._peer.along]

    async def abort(self) -> None:
        self._peer.aborted += 1


class Peers:
    """`datanode.node.Nodes`: by http://name."""

    def __init__(self, *names: str) -> None:
        self.all = {name: Peer(name) for name in names}

    def __call__(self, endpoint: str) -> Peer:
        return self.all[endpoint.removeprefix("http://")]

    def __getitem__(self, name: str) -> Peer:
        return self.all[name]
