"""Membership under any sequence of commands: named invariants, held after each of them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.machine import membership
from processors.machine.rejection import Rejected
from processors.machine.rendezvous import is_candidate
from topics import commands, events
from topics.commands import Mark
from topics.placement import Group, Placement, State

NAMES, FOLDERS, BOOTS = st.sampled_from("abcde"), st.sampled_from("12"), st.sampled_from("12")
COMMANDS: st.SearchStrategy[commands.ClusterBody] = st.one_of(
    st.builds(
        lambda name, folder, boot, size, is_known: commands.RegisterNode(
            name, folder, folder + boot, "", "x" if name in "ab" else name, size, is_known
        ),
        NAMES,
        FOLDERS,
        BOOTS,
        st.integers(1, 3),
        st.booleans(),
    ),
    st.builds(
        lambda name, folder, boot, mark: commands.MarkNode(name, folder + boot, mark),
        NAMES,
        FOLDERS,
        BOOTS,
        st.sampled_from(Mark),
    ),
    st.builds(commands.DrainNode, NAMES, st.booleans()),
    st.builds(commands.RemoveNode, NAMES),
    st.builds(
        lambda name, folder, boot, group, holds: commands.HoldGroup(name, folder + boot, group, holds),
        NAMES,
        FOLDERS,
        BOOTS,
        st.integers(0, 2),
        st.booleans(),
    ),
    st.builds(commands.SetCopies, st.integers(0, 4)),
    st.builds(commands.SetOutShare, st.sampled_from([0, 0.25, 0.5, 1])),
    st.builds(commands.PauseCluster, st.booleans()),
)
START = Placement(copies=2, groups=[Group()] * 2)


def decided(placement: Placement, body: commands.ClusterBody) -> events.ClusterEvent | None:
    try:
        return membership.decide(placement, body)
    except Rejected:
        return None


def holders_are_known(_: Placement, after: Placement) -> None:
    for group in after.groups:
        assert set(group.members) <= set(after.nodes)


def who_was_held_is_held(before: Placement, after: Placement) -> None:
    """A holder goes only where another stays, or a target takes its place."""
    for was, group in zip(before.groups, after.groups, strict=True):
        assert group.holders or not was.holders
        assert group.holders != []


def a_new_holder_said_so_or_there_was_none(before: Placement, after: Placement, body: commands.ClusterBody) -> None:
    for was, group in zip(before.groups, after.groups, strict=True):
        new = set(group.holders or ()) - set(was.holders or ())
        if isinstance(body, commands.HoldGroup) and body.holds:
            assert new <= {body.node} & set(group.targets)
        elif new and was.holders:
            assert isinstance(body, commands.RegisterNode)
            assert was.holders == [body.node]  # the last one, which comes back emptied
            assert new <= set(was.targets) or not set(was.targets) - {body.node}


def targets_can_take_blobs(_: Placement, after: Placement) -> None:
    for group in after.groups:
        holders = group.holders or ()
        assert all(is_candidate(after.nodes[name], holders) for name in group.targets)
        candidates = sum(is_candidate(node, holders) for node in after.nodes.values())
        assert len(group.targets) <= after.copies
        assert len(group.targets) >= min(after.copies, sum(map(is_candidate, after.nodes.values())))
        assert len(group.targets) <= candidates


def brakes_hold(before: Placement, after: Placement, event: events.ClusterEvent) -> None:
    if isinstance(event, events.NodeChanged) and event.change == "out" and not event.node.is_draining:
        nodes = after.nodes.values()
        out = sum(each.state is State.OUT and not each.is_draining for each in nodes)
        assert not before.brakes.is_paused
        assert out <= max(1, before.brakes.out_share * len(nodes))
        domain = [each for each in nodes if each.domain == event.node.domain]
        assert len(domain) == 1 or any(each.state is State.UP for each in domain)


@settings(max_examples=100)
@given(st.lists(COMMANDS, max_size=40))
def test_what_holds_after_any_commands(bodies: list[commands.ClusterBody]) -> None:
    placement, records = START, list[bytes]()
    for body in bodies:
        event = decided(placement, body)
        if event is None:
            continue
        before, placement = placement, membership.apply(placement, event)
        assert placement.epoch == before.epoch + 1
        assert decided(placement, body) is None  # asked for twice, it is done once
        for invariant in (holders_are_known, who_was_held_is_held, targets_can_take_blobs):
            invariant(before, placement)
        a_new_holder_said_so_or_there_was_none(before, placement, body)
        brakes_hold(before, placement, event)
        records.append(events.encode(events.Decision(1, 1, 0, 0, "", "", "", event)))
    replayed = START
    for record in records:
        fact = events.decode(record).event
        assert isinstance(fact, events.ClusterEvent)
        replayed = membership.apply(replayed, fact)
    assert replayed == placement
