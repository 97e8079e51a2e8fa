"""What must hold of data nodes when all is well: why they have not converged yet, if they have not."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from awscrt.checksums import crc32c

from datanode.layout import BlobCorrupt
from datanode.store import BlobMissing, VolumeStore
from processors.machine import membership, tables
from processors.memory import MemoryView
from processors.view import Readable
from tests.simulation.cluster.checks import replay
from tests.simulation.data.host import SECRET, Host
from tests.simulation.invariants import (
    BrakesHold,
    CorruptionIsNeverServed,
    FullNodesTakeNothing,
    HoldersHaveAll,
    RemovedNodesStayAway,
    ViewEqualsReplay,
    WellNodesAreUp,
)
from topics import events, heartbeats, spec
from topics.memory import MemoryLog
from topics.objects import Extent
from topics.placement import OUT_SHARE, Node, Placement, State
from topics.reader import ReaderState
from topics.spec import TopicPartition

Blob = tuple[int, bytes]
HEARTBEATS = TopicPartition("heartbeats", 0)
JUDGED_MS = 2_000  # within which who judges has heard, decided and said
CONTROL = TopicPartition("events", spec.CONTROL_PARTITION)


async def is_whole(log: MemoryLog, placement: Placement, hosts: Sequence[Host]) -> bool:
    """Whether each group has as many holders as it is to have, and they have all."""
    has_all = all(len(group.targets) == placement.copies for group in placement.groups)
    return has_all and not await not_whole(log, placement, hosts)


async def not_whole(log: MemoryLog, placement: Placement, hosts: Sequence[Host]) -> str:
    """Why not every member of every group has all that was ever written, if so."""
    by_name = {host.name: host for host in hosts}
    for number, group in enumerate(placement.groups):
        copies = sum(node.state is not State.OUT and not node.is_draining for node in placement.nodes.values())
        if len(group.targets) < min(placement.copies, copies) or not group.targets:
            return f"group {number} has targets {group.targets}"
        if set(group.targets) != set(group.holders or []):
            return f"group {number} has targets {group.targets} and holders {group.holders}"
        for name in group.members:
            if why := await _lacks(log, number, by_name[name]):
                return f"group {number} at {name}: {why}"
    return ""


async def heard_s(log: MemoryLog, name: str) -> float:
    """When a node was heard last."""
    for record in reversed(await log.read(HEARTBEATS, max(0, await log.latest(HEARTBEATS) - 100))):
        if record.key == name.encode():
            return record.time_ms / 1000
    return 0.0


async def _lacks(log: MemoryLog, number: int, host: Host) -> str:
    service = host.service
    if host.machine.is_dead or host.machine.is_paused or service is None or not service.member.is_registered:
        return "not there"
    if host.table.fails:
        return "its index fails"
    if (replica := service.member.replicas.get(number)) is None:
        return "not served"
    latest = await log.latest(TopicPartition("writes", number))
    if replica.settled < latest:
        return f"settled {replica.settled} of {latest}, at {replica.position}, {replica.wanted} wanted"
    for held in service.store.blobs(number):
        if not await _is_sound(service.store, number, held.blob, held.length):
            return f"{held.blob.hex()} is damaged"
    return ""


async def _is_sound(store: VolumeStore, group: int, blob: bytes, length: int) -> bool:
    try:
        await store.read(group, blob, 0, length)
    except (OSError, BlobCorrupt, BlobMissing):
        return False
    return True


async def not_converged(log: MemoryLog, placement: Placement, views: Iterable[Readable], hosts: Sequence[Host]) -> str:
    """Why a node has other blobs than those that metadata refer to, or bytes that differ; if so."""
    wanted: dict[Blob, Extent] = {}
    for view in views:
        wanted |= referred(view)
        if next(tables.garbage(view), None) is not None or next(tables.dropped(view), None) is not None:
            return "garbage is not released"
    if why := await not_whole(log, placement, hosts):
        return why
    for number in range(len(placement.groups)):
        at = TopicPartition("writes", number)
        if await log.earliest(at) < await log.latest(at):
            return f"writes:{number} is not trimmed: {await log.earliest(at)} of {await log.latest(at)}"
    for host in hosts:
        if why := await _differs(host, placement, wanted):
            return f"{host.name}: {why}"
    return ""


def referred(view: Readable) -> dict[Blob, Extent]:
    """By objects, and by parts of uploads that go on."""
    extents = (extent for _, some in tables.referring(view) for extent in some)
    return {(extent.group, bytes.fromhex(extent.blob)): extent for extent in extents}


async def _differs(host: Host, placement: Placement, extents: Mapping[Blob, Extent]) -> str:
    service = host.service
    if service is None or host.machine.is_dead:
        return "not there"
    if (why := service.unready()) or host.known.current != placement or not placement.is_up(host.name):
        return f"not ready, or behind with the map, or not up: {why}"
    wanted = {each for each in extents if host.name in placement.groups[each[0]].members}
    for each in wanted ^ set(_held(service.store)):
        return f"blob {each[1].hex()} of group {each[0]} is {'missing' if each in wanted else 'too much'}"
    for group, blob in wanted:
        extent = extents[group, blob]
        if crc32c(await service.store.read(group, blob, 0, extent.length)) != extent.crc32c:
            raise CorruptionIsNeverServed(f"blob {extent.blob} of group {group} at {host.name}")
    return ""


def _held(store: VolumeStore) -> Iterator[Blob]:
    for group in store.groups():
        for held in store.blobs(group):
            yield group, held.blob


async def check_views(log: MemoryLog, views: Mapping[int, MemoryView]) -> None:
    for number, view in views.items():
        if (await replay(log, number, tables.meta(view).offset)).view.rows != view.rows:
            raise ViewEqualsReplay(f"partition {number}")


async def cluster_events(log: MemoryLog) -> list[events.ClusterEvent]:
    return [event for _, event in await timed_events(log)]


async def timed_events(log: MemoryLog) -> list[tuple[int, events.ClusterEvent]]:
    """Those that count, with the log's times."""
    found, state = list[tuple[int, events.ClusterEvent]](), ReaderState()
    for record in await log.read(CONTROL, 0, records_max=100_000):
        decision = events.decode(record.value)
        if (after := state.accept(decision)) is not None:
            state = after
            if isinstance(decision.event, events.ClusterEvent):
                found.append((record.time_ms, decision.event))
    return found


async def check_brakes(log: MemoryLog) -> None:
    placement = Placement()
    for event in await cluster_events(log):
        before, placement = placement, membership.apply(placement, event)
        if not isinstance(event, events.NodeChanged) or event.change != "out" or event.node.is_draining:
            continue
        nodes = placement.nodes.values()
        domain = [each for each in nodes if each.domain == event.node.domain]
        out = sum(each.state is State.OUT and not each.is_draining for each in nodes)
        if before.brakes.is_paused:
            raise BrakesHold(f"{event.node.name} went out while the cluster was paused")
        if out > max(1, OUT_SHARE * len(nodes)):
            raise BrakesHold(f"{out} of {len(nodes)} nodes are out")
        if len(domain) > 1 and not any(each.state is State.UP for each in domain):
            raise BrakesHold(f"{event.node.name} went out, and all of its rack is away")


async def check_new_holders(log: MemoryLog) -> None:
    """Each has said so, but of a group that nobody holds any more, or ever did."""
    placement = Placement()
    for event in await cluster_events(log):
        before, placement = placement, membership.apply(placement, event)
        for number, (old, new) in enumerate(zip(before.groups, placement.groups, strict=True)):
            gone = {event.node.name} if isinstance(event, events.NodeChanged) and _is_emptied(before, event.node) else set()
            left = set(old.holders or ()) - gone
            said = {event.node} if isinstance(event, events.GroupHeld) and event.group == number else set()
            if left and not set(new.holders or ()) <= left | said:
                raise HoldersHaveAll(f"group {number} had holders {left}, has {new.holders}, of which {said} said so")


def _is_emptied(placement: Placement, node: Node) -> bool:
    return node.name in placement.nodes and placement.nodes[node.name].incarnation != node.incarnation


async def check_full_nodes(log: MemoryLog) -> None:
    placement = Placement()
    for event in await cluster_events(log):
        before, placement = placement, membership.apply(placement, event)
        for number, (old, new) in enumerate(zip(before.groups, placement.groups, strict=True)):
            for name in set(new.targets).difference(old.targets, old.holders or ()):
                if placement.nodes[name].is_full:
                    raise FullNodesTakeNothing(f"{name} is full, and is to have group {number}")


async def check_nobody_fell(log: MemoryLog, grace_ms: int) -> None:
    """Who is down was silent for about the grace just before, or said that its disk fails."""
    heard = await _heartbeats(log)
    for time_ms, event in await timed_events(log):
        if not isinstance(event, events.NodeChanged) or event.change != "down":
            continue
        start_ms = time_ms - grace_ms - JUDGED_MS
        beats = [
            (at_ms, beat)
            for at_ms, beat in heard
            if start_ms <= at_ms <= time_ms and (beat.node, beat.incarnation) == (event.node.name, event.node.incarnation)
        ]
        if any(beat.disk_failure for _, beat in beats):
            continue
        silent_ms = max(later - former for former, later in pairwise([start_ms, *(at_ms for at_ms, _ in beats), time_ms]))
        if silent_ms < grace_ms - JUDGED_MS / 2:
            raise WellNodesAreUp(f"{event.node.name} is down, and was silent for {silent_ms} ms")


async def check_removed_stay_away(log: MemoryLog) -> None:
    heard = [(at_ms, beat.node, beat.incarnation) for at_ms, beat in await _heartbeats(log)]
    removed = dict[str, int]()
    for time_ms, event in await timed_events(log):
        if isinstance(event, events.NodeRemoved):
            removed[event.node] = time_ms
        elif isinstance(event, events.NodeChanged) and event.node.name in removed:
            since_ms, said = removed.pop(event.node.name), (event.node.name, event.node.incarnation)
            if not any(since_ms <= at_ms <= time_ms for at_ms, *who in heard if tuple(who) == said):
                raise RemovedNodesStayAway(f"{event.node.name} was removed, said nothing, and {event.change}")


async def _heartbeats(log: MemoryLog) -> list[tuple[int, heartbeats.Heartbeat]]:
    """With the log's times."""
    records = await log.read(HEARTBEATS, 0, records_max=100_000)
    said = ((record.time_ms, heartbeats.decode(record.value, SECRET)) for record in records)
    return [(time_ms, beat) for time_ms, beat in said if isinstance(beat, heartbeats.Heartbeat)]
