"""Which topics exist, how many partitions each has, and when a record becomes visible to readers.

Rules: a partition count is fixed when the topic is created (a bucket's events must stay in one partition); the control
partition is the one behind the last bucket partition and holds what belongs to no bucket.
"""

import enum
import zlib

import msgspec


class Visible(enum.StrEnum):
    """From when on readers of a topic see a record."""

    APPENDED = "appended"  # at once: a command may be decided before it is synced, its event syncs both
    DURABLE = "durable"  # only when synced: what a subscriber has seen never vanishes


class TopicSpec(msgspec.Struct, frozen=True):
    name: str
    partitions: int
    visible: Visible
    kept: bool  # whether records stay until trimmed by an operator (true) or by their consumer (false)
    retention_ms: int = -1  # on a cluster, records older than this go by themselves
    is_compacted: bool = False  # whether of each key only the latest record stays
    grows: bool = False  # whether partitions may be added: where what is kept elsewhere names its partition


class TopicPartition(msgspec.Struct, frozen=True, order=True):
    topic: str
    partition: int


BUCKET_PARTITIONS = 16  # enough to spread over the processors of a large cluster, few enough to scan one by one
CONTROL_PARTITION = BUCKET_PARTITIONS
HOUR_MS = 3_600_000
GROUPS = 64  # replication groups: enough to spread over the data nodes of a large cluster in small steps

COMMANDS = TopicSpec("commands", BUCKET_PARTITIONS + 1, Visible.APPENDED, kept=False)
EVENTS = TopicSpec("events", BUCKET_PARTITIONS + 1, Visible.DURABLE, kept=True)
WRITES = TopicSpec("writes", GROUPS, Visible.APPENDED, kept=False, grows=True)
PLACEMENT = TopicSpec("placement", 1, Visible.DURABLE, kept=False)
REPLIES = TopicSpec("replies", 16, Visible.DURABLE, kept=False, retention_ms=HOUR_MS)  # gateways share its partitions
OWNERS = TopicSpec("owners", 1, Visible.DURABLE, kept=False, retention_ms=HOUR_MS)
READERS = TopicSpec("readers", 1, Visible.DURABLE, kept=False, retention_ms=HOUR_MS)
HEARTBEATS = TopicSpec("heartbeats", 1, Visible.DURABLE, kept=False, retention_ms=HOUR_MS)
HEARD = TopicSpec("heard", 1, Visible.DURABLE, kept=False, is_compacted=True)  # the changelog of a table of heartbeats
ALL = (COMMANDS, EVENTS, WRITES, PLACEMENT)  # of one process, where the others need no topic
CLUSTER = (*ALL, REPLIES, OWNERS, READERS, HEARTBEATS, HEARD)


def bucket_partition(bucket: str) -> int:
    """The partition of `commands` and `events` that a bucket lives in."""
    return zlib.crc32(bucket.encode()) % BUCKET_PARTITIONS
