"""The state of a cluster, for an operator: GET /-/status as JSON, from what a gateway (or the whole store) knows anyway.

A group is, from bad to good: `without_holder` where no node that is up has all of it; `under_replicated` where fewer than
the wanted copies are up; `copying` where there are enough, but a node that is to have it does not yet; `whole`.
"""

import enum
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from bucketlog.admin import Answer, json_response
from gateway.request import Request
from processors.machine.membership import held_back
from topics.heartbeats import CLOCK_OFF_S_MAX
from topics.placement import OUT_SHARE, Group, Node, Placement, State

PATH = "/-/status"


class Condition(enum.StrEnum):
    """Of a replication group."""

    WITHOUT_HOLDER = "without_holder"
    UNDER_REPLICATED = "under_replicated"
    COPYING = "copying"
    WHOLE = "whole"


class Heard(NamedTuple):
    """What a data node said last."""

    used_bytes: int
    behind: Mapping[int, int]  # group → blobs that it is to have and does not, yet
    ago_s: float
    at: str = ""  # where it is, if that is not its endpoint
    clock_off_s: float = 0.0  # ahead of the log's
    disk_failure: str = ""


class NodeStatus(msgspec.Struct, frozen=True):
    name: str
    state: str
    is_draining: bool
    is_full: bool
    domain: str
    endpoint: str  # in one process: its folder
    capacity_bytes: int
    used_bytes: int | None  # None: not heard yet
    heard_ago_s: float | None
    groups_wanted: int  # that it is to have
    groups_held: int  # of these, those of which it has all blobs
    groups_leaving: int  # that it has until others have them
    blobs_behind: int  # that it knows it lacks
    warnings: list[str] = []  # what an operator must look at


class PartitionStatus(msgspec.Struct, frozen=True):
    number: int
    owner: str  # empty where there is none
    lag: int | None  # commands that wait for their decision; None: it cannot be had


class AuditStatus(msgspec.Struct, frozen=True):
    """Of the last pass that asked holders for all blobs that objects refer to."""

    ended_ms: int  # 0: there was none
    blobs: int  # that it asked for
    missing: int  # at some holder, and fetched anew
    lost: int  # that no holder has, as far as is known


class Status(msgspec.Struct, frozen=True):
    epoch: int  # of the map
    copies: int  # that are wanted of each blob
    nodes: list[NodeStatus]
    groups: dict[Condition, list[int]]
    partitions: list[PartitionStatus]
    is_paused: bool = False  # no node goes out by itself
    out_share: float = OUT_SHARE  # of the nodes may
    log_damaged: list[str] = []  # files of the embedded log of which no copy is whole: to be restored from a backup
    audit: AuditStatus | None = None  # of a cluster the processors' metrics tell it


class Known(NamedTuple):
    """Where the state is read from."""

    placement: Callable[[], Placement]
    heard: Callable[[], Mapping[str, Heard]]  # node → what it said last
    partitions: Callable[[], Awaitable[Sequence[PartitionStatus]]]
    audit: Callable[[], AuditStatus | None] = lambda: None
    log_damaged: Callable[[], Iterable[str]] = tuple


def answer_status(known: Known) -> Answer:
    async def answer(_: HttpRequest, request: Request) -> Response:
        del request
        found = status_of(known.placement(), known.heard(), await known.partitions())
        found = msgspec.structs.replace(found, audit=known.audit(), log_damaged=sorted(known.log_damaged()))
        return json_response(found)

    return answer


def status_of(placement: Placement, heard: Mapping[str, Heard], partitions: Sequence[PartitionStatus]) -> Status:
    nodes = [_node(placement, name, heard.get(name)) for name in sorted(placement.nodes)]
    brakes = placement.brakes
    groups = conditions(placement)
    return Status(placement.epoch, placement.copies, nodes, groups, list(partitions), brakes.is_paused, brakes.out_share)


def conditions(placement: Placement) -> dict[Condition, list[int]]:
    """The numbers of the groups in each condition."""
    found: dict[Condition, list[int]] = {each: [] for each in Condition}
    for number, group in enumerate(placement.groups):
        found[_condition(placement, group)].append(number)
    return found


def _condition(placement: Placement, group: Group) -> Condition:
    holders = group.holders or []
    up = sum(map(placement.is_up, holders))
    if not up:
        return Condition.WITHOUT_HOLDER
    if up < placement.copies:
        return Condition.UNDER_REPLICATED
    return Condition.WHOLE if set(group.targets) <= set(holders) else Condition.COPYING


def _node(placement: Placement, name: str, heard: Heard | None) -> NodeStatus:
    node = placement.nodes[name]
    wanted = [group for group in placement.groups if name in group.targets]
    return NodeStatus(
        name,
        node.state,
        node.is_draining,
        node.is_full,
        node.domain,
        (heard.at if heard else "") or node.endpoint,
        node.capacity_bytes,
        heard.used_bytes if heard else None,
        round(heard.ago_s, 1) if heard else None,
        len(wanted),
        sum(name in (group.holders or ()) for group in wanted),
        sum(name in (group.holders or ()) and name not in group.targets for group in placement.groups),
        sum(heard.behind.values()) if heard else 0,
        [*_warnings(placement, node, heard)],
    )


def _warnings(placement: Placement, node: Node, heard: Heard | None) -> Iterator[str]:
    if heard and heard.disk_failure:
        yield f"its disk fails: {heard.disk_failure}"
    if heard and abs(heard.clock_off_s) > CLOCK_OFF_S_MAX:
        yield f"its clock is {heard.clock_off_s:+.0f} s off the log's"
    if node.state is State.DOWN and (why := held_back(placement, node)):
        yield f"will not be out by itself: {why}"
