"""The way to the data: which group takes a blob, and which node is asked for one, by the map and by what failed lately."""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from datanode.node import BlobRef, DataNode, Nodes, NoNode, NoRoom
from datanode.placement import PlacementMap
from topics.placement import Group, Placement

STICKY_S = 1.0  # small payloads stay with a group for so long: its nodes take them in larger batches
HEDGES_SHARE, HEDGES_AT_ONCE = 0.1, 20.0  # of all reads; and what may be saved up
SUSPECT_S = 5.0  # for which a node that failed is asked last


class Room(NamedTuple):
    """How well a group can take a payload: one with a full target is no choice while there are others with a quorum."""

    has_quorum: bool
    minus_full: int  # targets
    takers: int


class HedgeBudget:
    """Of reads that are asked of a second node: see `datanode.hedge`."""

    def __init__(self) -> None:
        self._left = HEDGES_AT_ONCE

    def earn(self) -> None:
        """By a read."""
        self._left = min(self._left + HEDGES_SHARE, HEDGES_AT_ONCE)

    def take(self) -> bool:
        """Whether there is one."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Routes:
    def __init__(self, known: PlacementMap, nodes: Nodes, rng: random.Random) -> None:
        self._map = known
        self._nodes = nodes
        self._rng = rng
        self._suspect_until_s: dict[str, float] = {}
        self.hedges = HedgeBudget()
        self._best: tuple[Placement | None, list[int]] = (None, [])  # by this map
        self._sticky = 0
        self._sticky_until_s = 0.0

    def node(self, name: str) -> DataNode:
        return self._nodes(self._map.current.endpoint(name))

    def suspect(self, name: str) -> None:
        self._suspect_until_s[name] = asyncio.get_running_loop().time() + SUSPECT_S

    def trust(self, name: str) -> None:
        """It was suspected by hearsay, and is well."""
        self._suspect_until_s.pop(name, None)

    def is_suspect(self, name: str) -> bool:
        return name in self._suspect_until_s and asyncio.get_running_loop().time() < self._suspect_until_s[name]

    def group_for_small(self) -> int:
        """For payloads that ride the log: any group of those that most nodes will take them for. Raises `NoNode`; `NoRoom`
        where full disks are the reason that no quorum takes them, now or when all are up again: the log would have to keep
        them until there is room."""
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._sticky_until_s:
            self._sticky = self._choose(_room_for_small, ())
            placement = self._map.current
            group = placement.groups[self._sticky]
            room = _room_for_small(placement, group)
            if not room.has_quorum and _is_for_full_disks(placement, group, room):
                raise NoRoom("too many data nodes have full disks to store a payload on a quorum of its group")
            self._sticky_until_s = now_s + STICKY_S
        return self._sticky

    def group_for_large(self, tried: Mapping[int, str]) -> tuple[int, str]:
        """A group that was not tried, and who is to lead it: its first target that takes payloads, is not suspected and has
        not failed to lead, if there is one. (All groups may begin with the same node.)

        `tried`: groups, and who failed to lead them. Raises `NoNode`.
        """
        doubts = {name: (name in tried.values(), self.is_suspect(name)) for name in self._map.current.nodes}

        def room(placement: Placement, group: Group) -> Room:
            takers = _takers(placement, group)
            has_leader = any(not any(doubts[name]) for name in takers)
            return _room(placement, group, sum(not self.is_suspect(name) for name in takers) if has_leader else 0)

        is_in_doubt = bool(tried) or any(map(self.is_suspect, self._suspect_until_s))
        group = self._choose(room, tried) if is_in_doubt else self._rng.choice(self._by_map_alone())
        placement = self._map.current
        if not (takers := _takers(placement, placement.groups[group])):
            raise NoNode(f"no data node of replication group {group} is up and has room")
        return group, min(takers, key=doubts.__getitem__)

    def readers(self, ref: BlobRef) -> list[str]:
        """Who may have a blob, best first: holders before those that still copy. Each has favourites, for their caches."""
        placement = self._map.current
        group = placement.groups[ref.group]
        holders = group.holders or []
        turn = ref.blob[-1] % len(holders) if holders else 0
        names = dict.fromkeys([*holders[turn:], *holders[:turn], *group.targets])
        if not names:
            raise NoNode(f"no data node has replication group {ref.group}")
        if len(names) == 1:
            return list(names)
        return sorted(names, key=lambda name: (self.is_suspect(name), not placement.is_up(name)))

    def _by_map_alone(self) -> list[int]:
        """The groups with most room where nobody is in doubt: found once a map, for each large payload asks."""
        placement = self._map.current
        if self._best[0] is not placement:
            self._best = (placement, self._with_most(_room_for_small, ()))
        return self._best[1]

    def _choose(self, room: Callable[[Placement, Group], Room], tried: Collection[int]) -> int:
        """A random one of the groups with most room."""
        return self._rng.choice(self._with_most(room, tried))

    def _with_most(self, room: Callable[[Placement, Group], Room], tried: Collection[int]) -> list[int]:
        placement = self._map.current
        groups = enumerate(placement.groups)
        found = {number: room(placement, each) for number, each in groups if each.targets and number not in tried}
        if not found:
            raise NoNode("no data node is there to take a payload")
        most = max(found.values())
        return [number for number, each in found.items() if each == most]


def has_quorum(placement: Placement) -> bool:
    """Whether some group has enough nodes that are up. Full ones count: their objects can be read, and deleted."""
    return any(sum(map(placement.is_up, group.targets)) >= placement.quorum for group in placement.groups)


def _room(placement: Placement, group: Group, takers: int) -> Room:
    full = sum(placement.nodes[name].is_full for name in group.targets if name in placement.nodes)
    return Room(takers >= placement.quorum, -full, takers)


def _is_for_full_disks(placement: Placement, group: Group, room: Room) -> bool:
    full = -room.minus_full
    return full > 0 and (room.takers + full >= placement.quorum or len(group.targets) - full < placement.quorum)


def _room_for_small(placement: Placement, group: Group) -> Room:
    return _room(placement, group, len(_takers(placement, group)))


def _takers(placement: Placement, group: Group) -> list[str]:
    return [name for name in group.targets if placement.is_up(name) and not placement.nodes[name].is_full]
