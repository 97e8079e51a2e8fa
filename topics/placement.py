"""Where blobs belong: the nodes of a cluster and each replication group's members. The records of the topic `placement`.

Derived from the events of the control partition, for those that follow: gateways and data nodes. Each record is the whole
map; a higher epoch replaces a lower one. It is a hint for routing: blobs are immutable and named, so that an old map can
find too little and never something wrong.
"""

from enum import StrEnum

import msgspec

from topics.spec import GROUPS

VERSION = 1
COPIES = 3
OUT_SHARE = 0.25  # of the nodes: as many may be out by themselves, and always one, unless it is 0


class State(StrEnum):
    UP = "up"
    DOWN = "down"  # silent for longer than the grace; it may come back with all it had
    OUT = "out"  # silent for so long that its groups were placed elsewhere


class Node(msgspec.Struct, frozen=True):
    name: str
    incarnation: str  # minted with its data folder: an emptied folder is another node
    boot: str  # minted with its process
    endpoint: str  # http://host:port
    domain: str  # failure domain: what may fail at once
    capacity_bytes: int
    state: State = State.UP
    is_draining: bool = False
    is_full: bool = False
    former_boot: str = ""  # of the process that this one replaced, which cannot take it back


class Group(msgspec.Struct, frozen=True, array_like=True):
    """Who is to have a group's blobs, first the one that leads writes; and who has all of them."""

    targets: list[str] = []
    holders: list[str] | None = None  # None: no blob was ever written here

    @property
    def members(self) -> list[str]:
        """Who follows the group's `writes`."""
        return [*self.targets, *(each for each in self.holders or () if each not in self.targets)]


class Brakes(msgspec.Struct, frozen=True, array_like=True):
    """What keeps nodes from going out by themselves."""

    is_paused: bool = False
    out_share: float = OUT_SHARE


NO_OTHER = Brakes()


class Placement(msgspec.Struct, frozen=True):
    epoch: int = 0
    copies: int = COPIES
    nodes: dict[str, Node] = {}
    groups: list[Group] = msgspec.field(default_factory=lambda: [Group()] * GROUPS)
    version: int = VERSION
    held: Brakes | msgspec.UnsetType = msgspec.UNSET  # where an operator set them

    @property
    def brakes(self) -> Brakes:
        return NO_OTHER if self.held is msgspec.UNSET else self.held

    @property
    def quorum(self) -> int:
        """How many copies of a streamed blob must be synced before its write stands."""
        return self.copies // 2 + 1

    def is_up(self, name: str) -> bool:
        node = self.nodes.get(name)
        return node is not None and node.state is State.UP

    def endpoint(self, name: str) -> str:
        """Empty where the node is not known."""
        node = self.nodes.get(name)
        return node.endpoint if node else ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Placement)


def encode(placement: Placement) -> bytes:
    return _encoder.encode(placement)


def decode(data: bytes) -> Placement:
    """Raises `ValueError` for what is not a map of this version."""
    found = _decoder.decode(data)
    if found.version != VERSION:
        raise ValueError(f"placement version {found.version} is not known to this release")
    return found
