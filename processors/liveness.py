"""Who judges the data nodes: heartbeats in, commands for the control partition out. Pure: all times are the log's.

A node that is heard and not known, or came back, is registered. One that is silent for the grace is down, one that stays
so for long is out, and its groups are placed elsewhere. Who judges tells the log its own ticks and judges when it reads
them: then it has heard all that was said before. The grace starts again after a stall, that is when nothing at all was
said for a while: then the broker stood still, or who judges, and no node is to blame; nor is it when the log's clock was
set back. Who judges anew starts so too, though what was heard before may outlive it (the mapping that is given); it judges
nobody by that alone.
A node that is not up is registered for what it said while the map had it so: what it said before it was removed, or before
it was down, says nothing of a process that is there now. What is read behind a tick was said after that was sent.
A node's own clock judges nobody: one that is off, or all of them where the log's is, is told. A node that says that its
disk fails is taken at its word: it is down and out at once. The map's brakes (`membership.held_back`) keep others down.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from typing import NamedTuple

from processors.machine.membership import held_back
from topics import commands
from topics.commands import Mark
from topics.heartbeats import CLOCK_OFF_S_MAX, Heard, Heartbeat
from topics.placement import Node, Placement, State

GRACE_MS = 15_000
OUT_MS = 600_000
STALL_MS = 5_000  # ticks come each second


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
        self._then: Placement | None = None  # the map as it was before anything was said that is heard now
        self._stood: dict[str, State | None] = {}  # node → how the map had it before it said its latest; None: not at all
        self._later: dict[str, tuple[str, str]] = {}  # node → the process that is registered, and one that was heard
        self._refusals: dict[tuple[str, str], str] = {}  # node and incarnation → why what it says is passed over

    def noted(self, time_ms: int) -> None:
        """A record of any kind was read."""
        if abs(time_ms - self._last_ms) > self._limits.stall_ms:
            self._since_ms = self._last_ms = time_ms
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

    def since(self, placement: Placement) -> None:
        """What is heard from now on was said after the map was so."""
        self._then = placement

    def judge(self, time_ms: int, placement: Placement) -> list[commands.ClusterBody]:
        self.noted(time_ms)
        self._forget(placement)
        return [*self._registrations(placement), *self._marks(placement)]

    def clocks_off_s(self) -> dict[str, float]:
        """Node → by how many seconds its clock is ahead of the log's, or behind, as it was heard last."""
        return {each.beat.node: (each.beat.clock_ms - each.time_ms) / 1000 for each in self._recent()}

    def warnings(self, placement: Placement) -> dict[tuple[str, str], str]:
        """What an operator must look at: node and kind → what is wrong."""
        found = dict[tuple[str, str], str]()
        for name, off_s in self.clocks_off_s().items():
            if abs(off_s) > CLOCK_OFF_S_MAX:
                found[name, "clock"] = f"its clock is {off_s:+.0f} s off the log's; set it, or the broker's, right"
        for each in self._recent():
            if each.beat.disk_failure:
                found[each.beat.node, "disk"] = f"its disk fails: {each.beat.disk_failure}; replace it"
        for node in placement.nodes.values():
            if self._is_due_out(node) and (why := held_back(placement, node)):
                found[node.name, "held back"] = f"it is down for long, and its groups stay where they are: {why}"
        return found

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
        """What another cluster's nodes said, before the log was made anew; nodes that are gone for good; times to come."""
        for name, each in list(self._heard.items()):
            is_old = self._last_ms - each.time_ms > self._limits.grace_ms + self._limits.out_ms
            if each.beat.cluster != self._cluster or (is_old and name not in placement.nodes):
                del self._heard[name]
                self._stood.pop(name, None)
            elif each.time_ms > self._last_ms:  # before the log's clock was set back
                self._heard[name] = Heard(self._last_ms, each.beat)

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
        if self._then is not None:
            self._stood[beat.node] = _state(self._then.nodes.get(beat.node))

    def _refusal(self, time_ms: int, beat: Heartbeat, placement: Placement) -> str:
        if beat.cluster != self._cluster:
            return "its data folder belongs to another cluster; start it on the right one, or with an empty folder"
        known = placement.nodes.get(beat.node)
        if known is not None and beat.boot == known.former_boot:
            return f"a later process of this node is at {known.endpoint}; stop this one"
        if known is None or known.incarnation == beat.incarnation or known.state is not State.UP:
            return ""
        return f"a node of this name is up at {known.endpoint}; give it another name, or stop that one"

    def _recent(self) -> Iterator[Heard]:
        return (each for each in self._heard.values() if self._last_ms - each.time_ms <= self._limits.grace_ms)

    def _registrations(self, placement: Placement) -> Iterator[commands.ClusterBody]:
        for beat in (each.beat for each in self._recent()):
            if beat.disk_failure:
                continue
            known = placement.nodes.get(beat.node)
            said = (beat.incarnation, beat.boot, beat.endpoint, beat.domain, beat.capacity_bytes)
            if known is None or known.state is not State.UP:
                if self._stood.get(beat.node, State.UP) is _state(known):
                    yield commands.RegisterNode(beat.node, *said, is_known=known is not None)
            elif said != _said(known):
                yield commands.RegisterNode(beat.node, *said, is_known=True)
            elif beat.is_full != known.is_full:
                yield commands.MarkNode(beat.node, beat.boot, Mark.FULL if beat.is_full else Mark.WRITABLE)

    def _marks(self, placement: Placement) -> Iterator[commands.ClusterBody]:
        for node in placement.nodes.values():
            if node.state is State.UP and self._is_gone_for(node, self._limits.grace_ms):
                yield commands.MarkNode(node.name, node.boot, Mark.DOWN)
            elif self._is_due_out(node) and not held_back(placement, node):
                yield commands.MarkNode(node.name, node.boot, Mark.OUT)

    def _is_due_out(self, node: Node) -> bool:
        return node.state is State.DOWN and self._is_gone_for(node, self._limits.grace_ms + self._limits.out_ms)

    def _is_gone_for(self, node: Node, for_ms: int) -> bool:
        """Silent for so long, or at once by its own word."""
        heard = self._heard.get(node.name)
        silent_ms = self._last_ms - max(heard.time_ms if heard else 0, self._since_ms)
        return silent_ms > for_ms or (heard is not None and self._fails(node, heard))

    def _fails(self, node: Node, heard: Heard) -> bool:
        is_recent = self._last_ms - heard.time_ms <= self._limits.grace_ms
        return is_recent and heard.beat.disk_failure != "" and heard.beat.incarnation == node.incarnation


def trimmable(placement: Placement, positions: Mapping[str, Mapping[int, int]]) -> dict[int, int]:
    """Group → below which offset of `writes` all members have everything; without groups of which one is not known."""
    found = {}
    for number, group in enumerate(placement.groups):
        told = [positions.get(name, {}).get(number) for name in group.members]
        known = [each for each in told if each is not None]
        if told and len(known) == len(told) and min(known) > 0:
            found[number] = min(known)
    return found


def _state(node: Node | None) -> State | None:
    return None if node is None else node.state


def _said(node: Node) -> tuple[str, str, str, str, int]:
    return node.incarnation, node.boot, node.endpoint, node.domain, node.capacity_bytes
