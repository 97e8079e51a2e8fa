"""Which nodes are to have a replication group: weighted rendezvous hashing (Thaler and Ravishankar 1998; weights by
-w / ln u) over failure domains. Pure: the same nodes give the same answer everywhere, and a node that joins or leaves moves
only the groups that it gets or had. A full node keeps the groups that it holds, and is given no others.
"""

import hashlib
import math
from collections.abc import Collection, Iterable

from topics.placement import Node, State

_RANGE = float(1 << 64)


def targets(nodes: Iterable[Node], group: int, copies: int, holders: Collection[str] = ()) -> list[str]:
    """Names of at most `copies` nodes, first the one that leads; each in a domain of its own as far as there are enough.

    `holders`: who has all of the group.
    """
    candidates = (each for each in nodes if is_candidate(each, holders))
    ranked = sorted(candidates, key=lambda node: (-_score(node, group), node.name))
    chosen: list[Node] = []
    domains: set[str] = set()
    for node in ranked:
        if len(chosen) < copies and node.domain not in domains:
            chosen.append(node)
            domains.add(node.domain)
    others = [node for node in ranked if node not in chosen]
    return [node.name for node in [*chosen, *others][:copies]]


def is_candidate(node: Node, holders: Collection[str] = ()) -> bool:
    """For a group with these holders: a full node has no room to copy it."""
    return node.state is not State.OUT and not node.is_draining and (not node.is_full or node.name in holders)


def _score(node: Node, group: int) -> float:
    digest = hashlib.blake2b(f"{group}/{node.name}".encode(), digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") + 0.5) / _RANGE  # in (0, 1)
    return -max(node.capacity_bytes, 1) / math.log(uniform)
