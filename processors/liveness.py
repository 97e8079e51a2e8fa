"""Who judges the data nodes: heartbeats in, commands for the control partition out. Pure: all times are the log's.

A node that is heard and not known, or came back, is registered. One that is silent for the grace is down, one that stays
so for long is out, and its groups are placed elsewhere. Who judges tells the log its own ticks and judges when it reads
them: then it has heard all that was said before. The grace starts again after a stall, that is when nothing at all was
said for a while: then the broker stood still, or who judges, and no node is to blame. Who judges anew starts so too, though
what was heard before may outlive it (the mapping that is given); it judges nobody by that alone.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import NamedTuple

from topics import commands
from topics.commands import Mark
from topics.heartbeats import Heard, Heartbeat
from topics.placement import Node, Placement, State

GRACE_MS = 15_000
OUT_MS = 600_000
STALL_MS = 5_000  # ticks come each second
SKEW_MS_MAX = 60_000  # of a node's clock: requests between nodes are refused at 300 s


class Limits(NamedTuple):
    """What an operator may set."""

    grace_ms: int = GRACE_MS
    out_ms: int = OUT_MS
    stall_ms: int = STALL_MS


class Liveness:
    def __init__(
        self,
        cluster: str,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        heard: MutableMapping[str, Heard] | None = None,
    ) -> None:
        """`cluster`: the log's identity, which nodes of another cluster do not share. `heard`: node → its latest heartbeat,
        with what is known from before; it is changed only in `heard` and `judge`."""
        self._cluster = cluster
        self._limits = limits
        self._heard = {} if heard is None else heard
        self._last_ms = 0
        self._since_ms = 0  # nothing was missed since then
        self._later: dict[str, tuple[str, str]] = {}  # node → the process that is registered, and one that was heard
        self._refusals: dict[tuple[str, str], str] = {}  # node and incarnation → why what it says is passed over

    def noted(self, time_ms: int) -> None:
        """A record of any kind was read."""
        if time_ms - self._last_ms > self._limits.stall_ms:
            self._since_ms = time_ms
        self._last_ms = max(self._last_ms, time_ms)

    def heard(self, time_ms: int, beat: Heartbeat, placement: Placement) -> str:
        """Why the node is refused, if it is and that is news; else empty."""
        self.noted(time_ms)
        why = self._refusal(time_ms, beat, placement)
        if not why:
            self._note(time_ms, beat, placement.nodes.get(beat.node))
        is_news = why != "" and self._refusals.get((beat.node, beat.incarnation)) != why
        self._refusals[beat.node, beat.incarnation] = why
        return why if is_news else ""

    def judge(self, time_ms: int, placement: Placement) -> list[commands.ClusterBody]:
        self.noted(time_ms)
        self._forget(placement)
        return [*self._registrations(placement), *self._marks(placement)]

    def trimmable(self, placement: Placement) -> dict[int, int]:
        """Group → the offset of its `writes` below which every member has synced all, as far as all were heard."""
        return trimmable(placement, {name: beat.positions for name, beat in self.beats().items()})

    def behind(self) -> dict[str, dict[int, int]]:
        """Node → group → blobs that it is to have and does not, as it said last."""
        return {name: beat.behind for name, beat in self.beats().items()}

    def beats(self) -> dict[str, Heartbeat]:
        """The latest of each node."""
        return {name: each.beat for name, each in self._heard.items() if each.beat.cluster == self._cluster}

    def _forget(self, placement: Placement) -> None:
        """What another cluster's nodes said, before the log was made anew; and nodes that are gone for good."""
        for name, each in list(self._heard.items()):
            is_old = self._last_ms - each.time_ms > self._limits.grace_ms + self._limits.out_ms
            if each.beat.cluster != self._cluster or (is_old and name not in placement.nodes):
                del self._heard[name]

    def _note(self, time_ms: int, beat: Heartbeat, known: Node | None) -> None:
        """As the latest of its node; but not in the place of a later process's, which is to be registered: both beat each
        second, and the registered one could be the latest at every tick."""
        last = self._heard.get(beat.node)
        if known is not None and beat.boot != known.boot:
            self._later[beat.node] = known.boot, beat.boot
        elif known is not None and last is not None:
            is_recent = self._last_ms - last.time_ms <= self._limits.grace_ms
            if is_recent and self._later.get(beat.node) == (known.boot, last.beat.boot):
                return
        self._heard[beat.node] = Heard(time_ms, beat)

    def _refusal(self, time_ms: int, beat: Heartbeat, placement: Placement) -> str:
        if beat.cluster != self._cluster:
            return "its data folder belongs to another cluster; start it on the right one, or with an empty folder"
        if abs(beat.clock_ms - time_ms) > SKEW_MS_MAX:
            return f"its clock is {(beat.clock_ms - time_ms) / 1000:+.0f} s off; set it right"
        known = placement.nodes.get(beat.node)
        if known is not None and beat.boot == known.former_boot:
            return f"a later process of this node is at {known.endpoint}; stop this one"
        if known is None or known.incarnation == beat.incarnation or known.state is not State.UP:
            return ""
        return f"a node of this name is up at {known.endpoint}; give it another name, or stop that one"

    def _registrations(self, placement: Placement) -> Iterator[commands.ClusterBody]:
        for each in self._heard.values():
            if self._last_ms - each.time_ms > self._limits.grace_ms:
                continue
            beat = each.beat
            known = placement.nodes.get(beat.node)
            said = (beat.incarnation, beat.boot, beat.endpoint, beat.domain, beat.capacity_bytes)
            if known is None or known.state is not State.UP or said != _said(known):
                yield commands.RegisterNode(beat.node, *said)
            elif beat.is_full != known.is_full:
                yield commands.MarkNode(beat.node, beat.boot, Mark.FULL if beat.is_full else Mark.WRITABLE)

    def _marks(self, placement: Placement) -> Iterator[commands.ClusterBody]:
        for node in placement.nodes.values():
            heard_ms = self._heard[node.name].time_ms if node.name in self._heard else 0
            silent_ms = self._last_ms - max(heard_ms, self._since_ms)
            if node.state is State.UP and silent_ms > self._limits.grace_ms:
                yield commands.MarkNode(node.name, node.boot, Mark.DOWN)
            elif node.state is State.DOWN and silent_ms > self._limits.grace_ms + self._limits.out_ms:
                yield commands.MarkNode(node.name, node.boot, Mark.OUT)


def trimmable(placement: Placement, positions: Mapping[str, Mapping[int, int]]) -> dict[int, int]:
    """Group → below which offset of `writes` all members have everything; without groups of which one is not known."""
    found = {}
    for number, group in enumerate(placement.groups):
        told = [positions.get(name, {}).get(number) for name in group.members]
        known = [each for each in told if each is not None]
        if told and len(known) == len(told) and min(known) > 0:
            found[number] = min(known)
    return found


def _said(node: Node) -> tuple[str, str, str, str, int]:
    return node.incarnation, node.boot, node.endpoint, node.domain, node.capacity_bytes
