"""What must hold in every world, whatever befalls it: each invariant is a class, raised where it is seen not to hold.

A planted bug (`plants.py`) names the invariants that must catch it. No other exception counts for a catch.
"""


class InvariantBroken(Exception):
    """What was seen. The class says which invariant does not hold."""


class NoAcknowledgedWriteIsLost(InvariantBroken):
    """What was acknowledged can be read, by whatever way, after any fault that leaves a quorum."""


class ReadsAreLinearizable(InvariantBroken):
    """Reads, lists and writes that were done fall into one order for each key, within the time that each took."""


class RefusalsAreTrue(InvariantBroken):
    """A definitive refusal fits that order, too: what it names as its reason held at some moment while it was asked."""


class ViewEqualsReplay(InvariantBroken):
    """A view is what a fresh fold of the events up to its offset gives."""


class StreamIsComplete(InvariantBroken):
    """A subscriber that resumes by position sees each event once, in order, and all of them; one for each write done."""


class CorruptionIsNeverServed(InvariantBroken):
    """Bytes that are read are those that were written."""


class ReadsAreWhole(InvariantBroken):
    """A GET gives one version, whole, or an error that may be tried again: though it be replaced or deleted meanwhile."""


class ReplicasConverge(InvariantBroken):
    """When faults have ended, every replica of a group comes to hold the same blobs, and nothing unreferenced stays."""


class LogKeepsWhatItTook(InvariantBroken):
    """An append that returned is in the log, at its offset, while its process lives, whatever later writes come to."""


class PositionsAreInTheLog(InvariantBroken):
    """How far a node is said to have read the log is not behind its end, after any power cut."""


class MembersHaveAll(InvariantBroken):
    """A disk that counts as one with all of the log has its files under names that a power cut leaves."""


class HoldersHaveAll(InvariantBroken):
    """Who counts as a holder of a group has said so, and has all of it that lies below the position that it tells, at every
    moment."""


class WritesStandOnAQuorum(InvariantBroken):
    """A large payload that was acknowledged is synced on a quorum of the copies that it is to have."""


class ClaimsNameHolders(InvariantBroken):
    """Who is named by the claim of a blob that was acknowledged had it when the claim came, for others to fetch."""


class SettlingGoesOn(InvariantBroken):
    """A node settles what it has consumed of a group soon, whatever befell the volumes of other groups."""


class FailedDisksAreOut(InvariantBroken):
    """A node whose disk takes and gives nothing is not up in the map for long."""


class VolumesRest(InvariantBroken):
    """Where nothing is written and nothing released, compaction comes to an end."""


class StartsTakeLittleMemory(InvariantBroken):
    """A start without an index makes it anew in steps, however many blobs there are."""


class LogIsTrimmed(InvariantBroken):
    """When faults have ended, the log lets go of what nobody needs, in partitions that are idle, too."""


class Progress(InvariantBroken):
    """When faults have ended, each bucket takes a write, and each question is answered, soon."""


class EveryRequestIsAnswered(InvariantBroken):
    """One fault alone may cost time and no answer."""


class NobodyNotices(InvariantBroken):
    """A fault that kills no owner, and a restart, cost less time than a person waits."""


class StoreServes(InvariantBroken):
    """A store that has lost nothing of what its disks promised starts, goes on and ends, without one of its own alarms."""


class NobodyStandsStill(InvariantBroken):
    """While a disk hangs, a process calls its log there, reads there what is not in memory, and writes there when it can
    know, only where it can go on without an answer."""


class NodesFailAsTheySay(InvariantBroken):
    """A part answers with the errors of its port, or in time, and does not end."""


class ViewIsReadLittle(InvariantBroken):
    """A command costs a bounded number of operations on the view, however many objects there are."""


class FullNodesTakeNothing(InvariantBroken):
    """No payload goes to a group with a full target while there are groups without one, or where full ones leave no group
    a quorum; and no full node is to have a group that it does not hold."""


class BrakesHold(InvariantBroken):
    """No more nodes are out by themselves than a share, no whole rack, and none while an operator has paused it."""


class RemovedNodesStayAway(InvariantBroken):
    """A node that was removed is in the map again only for what it said after that."""


class WellNodesAreUp(InvariantBroken):
    """A node that is heard, and does not say that its disk fails, is up, whatever its clock says and whoever judges it."""
