"""One sample of every record type, with every field that it can carry."""

from topics import commands, events
from topics.heartbeats import Heartbeat, Tick
from topics.objects import Attributes, Checksum, Extent, Preconditions
from topics.placement import Brakes, Group, Node, Placement, State

EXTENTS = [Extent("01" * 16, 0, 5, 0x9A71BB4C, 7), Extent("02" * 16, 3, 67_108_864, 1, -1)]
CHECKSUM = Checksum("CRC32C", "mnG7TA==")
COMPOSITE = Checksum("SHA256", "RDBGZ2lKVmRlMmU=-2", "COMPOSITE")
ATTRIBUTES = Attributes("text/plain", {"cache-control": "no-store"}, {"größe": "5"}, "STANDARD_IA")
WANTED = Preconditions("*", "0123")
NODE = Node("n1", "ab" * 16, "cd" * 16, "http://10.0.0.7:9003", "rack-1", 1 << 40, State.DOWN, True, True, "ef" * 16)
PLACED = events.Placed({0: ["n1", "n2"]}, {3: ["n1"], 4: []})

BODIES: list[commands.Body] = [
    commands.CreateBucket("photos", "ab" * 16, "eu-west-1"),
    commands.DeleteBucket("photos"),
    commands.PutObject("photos", "a/ü", 5, "5d41", EXTENTS, CHECKSUM, ATTRIBUTES, WANTED, copied=True),
    commands.DeleteObject("photos", "a/ü", WANTED),
    commands.CreateUpload("photos", "big", "upload-1", "SHA256", "COMPOSITE", ATTRIBUTES),
    commands.PutPart("photos", "big", "upload-1", 10_000, 5, "5d41", EXTENTS, CHECKSUM),
    commands.CompleteUpload("photos", "big", "upload-1", [commands.PartName(1, "5d41", "mnG7TA==")], COMPOSITE, 5, WANTED),
    commands.AbortUpload("photos", "big", "upload-1"),
    commands.ForgetReleased(3, 99),
    commands.ReleaseOrphans(3, [(0, "01" * 16), (63, "02" * 16)]),
    commands.RegisterNode("n1", "ab" * 16, "cd" * 16, "http://10.0.0.7:9003", "rack-1", 1 << 40),
    commands.MarkNode("n1", "cd" * 16, commands.Mark.WRITABLE),
    commands.DrainNode("n1", is_draining=True),
    commands.RemoveNode("n1"),
    commands.HoldGroup("n1", "ab" * 16, 63, holds=True),
    commands.SetCopies(3),
    commands.DiscardParts(3),
    commands.ForgetReleased(3, 99, 2),
    commands.SetOutShare(0.25),
    commands.PauseCluster(is_paused=True),
    commands.RegisterNode("n1", "ab" * 16, "cd" * 16, "http://10.0.0.7:9003", "rack-1", 1 << 40, is_known=True),
]
FACTS: list[events.Event] = [
    events.Claimed("cd" * 16),
    events.BucketCreated("photos", "root", "eu-west-1", "ab" * 16),
    events.BucketDeleted("photos"),
    events.ObjectCreated(
        bucket="photos",
        key="a/ü",
        size=5,
        etag="5d41",
        version_id="null",
        private=events.ObjectPrivate(EXTENTS, ATTRIBUTES, CHECKSUM),
    ),
    events.ObjectCopied(
        bucket="photos",
        key="a/ü",
        size=0,
        etag="d41d",
        version_id="null",
        private=events.ObjectPrivate([], Attributes()),
    ),
    events.ObjectRemoved("photos", "a/ü", "null"),
    events.UploadCreated("photos", "big", "upload-1", events.UploadPrivate(ATTRIBUTES, "SHA256", "COMPOSITE", "root")),
    events.PartUploaded("photos", "big", "upload-1", 10_000, 5, "5d41", events.PartPrivate(EXTENTS, CHECKSUM)),
    events.UploadAborted("photos", "big", "upload-1"),
    events.UploadCompleted(
        "photos", "big", 5, "5d41-2", "null", "upload-1", events.CompletedPrivate([1, 10_000], COMPOSITE)
    ),
    events.BlobsReleased(99),
    events.OrphansFound([(0, "01" * 16), (63, "02" * 16)]),
    events.NodeChanged(NODE, "down", PLACED),
    events.NodeChanged(NODE, "full", events.Placed()),
    events.NodeRemoved("n1"),
    events.GroupHeld("n1", 63, ["n1", "n2"]),
    events.CopiesSet(3, PLACED),
    events.Claimed("cd" * 16, "0123456789abcdef"),
    events.CommandsDecided(17),
    events.PartsDiscarded(41, "a.jpg", "ef" * 16, 500),
    events.BlobsReleased(42, 3),
    events.GroupHeld("n1", 63, ["n2"], ["n2", "n3"]),
    events.OutShareSet(0.25),
    events.Paused(),
    events.Resumed(),
]
PLACEMENTS = [Placement(), Placement(7, 2, {"n1": NODE}, [Group(["n1"], ["n2", "n1"]), Group(["n1"], []), Group()])]
PLACEMENTS.append(Placement(8, 2, {}, [Group()], held=Brakes(is_paused=True, out_share=0.5)))
BEATS: list[Heartbeat | Tick] = [
    Heartbeat(
        "n1",
        "ab" * 16,
        "cd" * 16,
        "http://10.0.0.7:9003",
        "rack-1",
        "the log",
        1_800_000_000_000,
        1 << 40,
        1 << 30,
        True,
        {0: 5, 63: 1 << 40},
        {63: 2},
    ),
    Tick("ef" * 16),
    Heartbeat(
        "n2",
        "ab" * 16,
        "cd" * 16,
        "http://10.0.0.8:9003",
        "rack-2",
        "the log",
        1_800_000_000_000,
        1 << 40,
        1 << 30,
        False,
        {},
        disk_failure="a sync has taken 30 s",
    ),
]


def command(body: commands.Body) -> commands.Command:
    return commands.Command("4442587FB7D0A2F9", "root", "local", 1_800_000_030_000, body)


def decision(event: events.Event) -> events.Decision:
    return events.Decision(3, 7, 41, 1_800_000_000_000, "root", "4442587FB7D0A2F9", "0000000000000029", event)
