"""The state machine of the cluster's data nodes: who is there, and who has which replication group.

| command | is nothing new, or rejected, where | event |
|---|---|---|
| RegisterNode | known, or replaced by a later boot; removed since it was asked for | Node:Changed joined, returned |
| | NodeNameTaken: another folder's is up | |
| MarkNode down | it is not up, or has come back | Node:Changed down |
| MarkNode out | it is not down, has come back, or is `held_back` | Node:Changed out: its groups are placed elsewhere |
| MarkNode full, writable | it is so | Node:Changed full, writable |
| DrainNode | NoSuchNode | Node:Changed draining, staying |
| RemoveNode | NoSuchNode; NodeHoldsData while it is up or holds a group | Node:Removed |
| HoldGroup | the node was started anew, or is not to have the group, or is its last holder | Group:Held |
| SetCopies | InvalidArgument | Cluster:CopiesSet |
| SetOutShare | InvalidArgument | Cluster:OutShareSet |
| PauseCluster | it is so | Cluster:Paused, Cluster:Resumed |

up ─ silent for the grace ─► down ─ silent for long ─► out; from both back to up when it registers again. A node whose
disk fails says so, and is both at once. Brakes: never more than a share of the nodes is out by itself, never a whole
failure domain of several nodes (a rack that is away comes back with all it had, and its copies would lie in one place
meanwhile), and none while an operator has paused it; who is held back stays down.
A group's targets are to have it; its holders have all of it. A node becomes a holder when it says that it has copied
everything; who is no target stays a holder until all targets are. The last holder stays one when it is out or has lost
some: nobody else has the blobs. A group in which nothing was ever written is held by its targets at once; one whose last
holder comes back emptied by those that were targets meanwhile: what they have is all there is.
A full node is no target of what it does not hold. When it has room again it gets a group only where targets are too few;
others at the next change of another node: else what it gives up would make room for it to be copied back, for ever.
Events carry the placement that follows from them, so that a later release which places otherwise replays them alike.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

from msgspec import UNSET
from msgspec.structs import replace

from processors.machine.rejection import Rejected
from processors.machine.rendezvous import targets
from topics import commands, events
from topics.commands import Mark
from topics.placement import Group, Node, Placement, State

COPIES_MAX = 7


def decide(placement: Placement, body: commands.ClusterBody) -> events.ClusterEvent | None:
    """None where there is nothing new. Raises `Rejected`."""
    match body:
        case commands.RegisterNode():
            return _register(placement, body)
        case commands.MarkNode():
            return _mark(placement, body)
        case commands.DrainNode():
            node = _known(placement, body.node)
            if node.is_draining == body.is_draining:
                return None
            change = "draining" if body.is_draining else "staying"
            return _changed(placement, replace(node, is_draining=body.is_draining), change)
        case commands.RemoveNode():
            return _remove(placement, body.node)
        case commands.HoldGroup():
            return _hold(placement, body)
        case commands.SetCopies():
            if not 1 <= body.copies <= COPIES_MAX:
                raise Rejected("InvalidArgument", f"Copies are 1 to {COPIES_MAX}.")
            if body.copies == placement.copies:
                return None
            return events.CopiesSet(body.copies, _placed(placement, placement.nodes, body.copies))
        case commands.SetOutShare():
            if not 0 <= body.share <= 1:
                raise Rejected("InvalidArgument", "The share of nodes that may go out by themselves is 0 to 1.")
            return None if body.share == placement.brakes.out_share else events.OutShareSet(body.share)
        case commands.PauseCluster():
            if body.is_paused == placement.brakes.is_paused:
                return None
            return events.Paused() if body.is_paused else events.Resumed()
        case _:
            assert_never(body)


def apply(placement: Placement, event: events.ClusterEvent) -> Placement:
    epoch = placement.epoch + 1
    match event:
        case events.NodeChanged():
            nodes = {**placement.nodes, event.node.name: event.node}
            return replace(placement, epoch=epoch, nodes=nodes, groups=_groups(placement, event.private))
        case events.NodeRemoved():
            nodes = {name: node for name, node in placement.nodes.items() if name != event.node}
            return replace(placement, epoch=epoch, nodes=nodes)
        case events.GroupHeld():
            moved = {} if event.targets is UNSET else {event.group: event.targets}
            placed = events.Placed(moved, {event.group: event.holders})
            return replace(placement, epoch=epoch, groups=_groups(placement, placed))
        case events.CopiesSet():
            return replace(placement, epoch=epoch, copies=event.copies, groups=_groups(placement, event.private))
        case events.OutShareSet():
            return replace(placement, epoch=epoch, held=replace(placement.brakes, out_share=event.share))
        case events.Paused() | events.Resumed():
            is_paused = isinstance(event, events.Paused)
            return replace(placement, epoch=epoch, held=replace(placement.brakes, is_paused=is_paused))
        case _:
            assert_never(event)


def held_back(placement: Placement, node: Node) -> str:
    """Why a node that is down does not go out by itself; empty where it may."""
    if placement.brakes.is_paused:
        return "the cluster is paused"
    if node.is_draining:
        return ""  # it is placed elsewhere already
    out = sum(each.state is State.OUT and not each.is_draining for each in placement.nodes.values())
    if out >= _out_max(placement):
        return f"{out} of {len(placement.nodes)} nodes are out already"
    domain = [each for each in placement.nodes.values() if each.domain == node.domain]
    if len(domain) > 1 and not any(each.state is State.UP for each in domain):
        return f"all of its failure domain {node.domain} is away"
    return ""


def _out_max(placement: Placement) -> int:
    share = placement.brakes.out_share
    return max(1, int(share * len(placement.nodes))) if share else 0


def _register(placement: Placement, body: commands.RegisterNode) -> events.NodeChanged | None:
    known = placement.nodes.get(body.node)
    said = Node(body.node, body.incarnation, body.boot, body.endpoint, body.domain, body.capacity_bytes)
    if known is None:
        return None if body.is_known else _changed(placement, said, "joined")
    if known.incarnation != body.incarnation:
        if known.state is State.UP:
            raise Rejected("NodeNameTaken", f"A node {body.node} with another data folder is up.")
        return _changed(placement, replace(said, is_draining=known.is_draining), "joined")
    if body.boot == known.former_boot:
        return None
    former = known.former_boot if body.boot == known.boot else known.boot
    fresh = replace(said, former_boot=former, is_draining=known.is_draining, is_full=known.is_full)
    return None if fresh == known else _changed(placement, fresh, "returned")


def _mark(placement: Placement, body: commands.MarkNode) -> events.NodeChanged | None:
    node = placement.nodes.get(body.node)
    if node is None or node.boot != body.boot:
        return None
    match body.mark:
        case Mark.DOWN:
            return _changed(placement, replace(node, state=State.DOWN), "down") if node.state is State.UP else None
        case Mark.OUT:
            is_due = node.state is State.DOWN and not held_back(placement, node)
            return _changed(placement, replace(node, state=State.OUT), "out") if is_due else None
        case Mark.FULL | Mark.WRITABLE:
            is_full = body.mark is Mark.FULL
            return None if node.is_full == is_full else _changed(placement, replace(node, is_full=is_full), body.mark)
        case _:
            assert_never(body.mark)


def _remove(placement: Placement, name: str) -> events.NodeRemoved:
    node = _known(placement, name)
    held = [number for number, group in enumerate(placement.groups) if name in group.members]
    if held:
        raise Rejected("NodeHoldsData", f"Node {name} has {len(held)} replication groups; drain it first.")
    if node.state is State.UP:
        raise Rejected("NodeHoldsData", f"Node {name} is up and would come back; stop it first.")
    return events.NodeRemoved(name)


def _hold(placement: Placement, body: commands.HoldGroup) -> events.GroupHeld | None:
    node = placement.nodes.get(body.node)
    if node is None or node.boot != body.boot or not 0 <= body.group < len(placement.groups):
        return None
    group = placement.groups[body.group]
    holders = group.holders or []
    if body.holds == (body.node in holders) or (body.holds and body.node not in group.targets):
        return None
    if body.holds:
        return events.GroupHeld(body.node, body.group, _settled(group.targets, [*holders, body.node]))
    others = [each for each in holders if each != body.node]
    if not others:
        return None
    wanted = targets(placement.nodes.values(), body.group, placement.copies, others) if node.is_full else group.targets
    return events.GroupHeld(body.node, body.group, others, UNSET if wanted == group.targets else wanted)


def _changed(placement: Placement, node: Node, change: str) -> events.NodeChanged:
    nodes = {**placement.nodes, node.name: node}
    known = placement.nodes.get(node.name)
    is_new = known is not None and known.incarnation != node.incarnation
    gone = {node.name} if is_new else set()
    out = {node.name} if node.state is State.OUT else set()
    only_short = change == Mark.WRITABLE
    placed = _placed(placement, nodes, placement.copies, emptied=gone, out=out, only_short=only_short)
    return events.NodeChanged(node, change, placed)


def _placed(
    placement: Placement,
    nodes: Mapping[str, Node],
    copies: int,
    *,
    emptied: Iterable[str] = (),
    out: Iterable[str] = (),
    only_short: bool = False,
) -> events.Placed:
    """What changes for the groups. `emptied` nodes hold nothing any more; those `out` only what nobody else does.
    `only_short`: groups that have all their targets keep them."""
    new_targets: dict[int, list[str]] = {}
    new_holders: dict[int, list[str]] = {}
    for number, group in enumerate(placement.groups):
        left = [each for each in group.holders or () if each not in emptied]
        keeps = only_short and len(group.targets) == copies
        wanted = group.targets if keeps else targets(nodes.values(), number, copies, left)
        if left:
            holders = _settled(wanted, [each for each in left if each not in out] or left)
        else:
            holders = [each for each in group.targets if each not in emptied] or wanted
        if wanted != group.targets:
            new_targets[number] = wanted
        if holders and holders != group.holders:
            new_holders[number] = holders
    return events.Placed(new_targets, new_holders)


def _settled(wanted: list[str], holders: list[str]) -> list[str]:
    """Once all targets hold a group, nobody else need."""
    return list(wanted) if wanted and set(wanted) <= set(holders) else holders


def _groups(placement: Placement, placed: events.Placed) -> list[Group]:
    return [
        Group(placed.targets.get(number, group.targets), placed.holders.get(number, group.holders))
        for number, group in enumerate(placement.groups)
    ]


def _known(placement: Placement, name: str) -> Node:
    if name not in placement.nodes:
        raise Rejected("NoSuchNode", f"There is no data node {name}.")
    return placement.nodes[name]
