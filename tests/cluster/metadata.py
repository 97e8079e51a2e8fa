"""What the metadata of a cluster refer to: its events, folded here."""

from collections.abc import Iterator

from processors.machine import tables
from processors.machine.apply import fold
from processors.memory import MemoryView
from processors.view import Overlay, Readable
from topics import spec
from topics.kafka.adapter import KafkaLog
from topics.objects import Extent
from topics.spec import TopicPartition

Blobs = dict[int, set[bytes]]  # by group


async def referred(log: KafkaLog) -> Blobs:
    """By objects and by parts of uploads, in all buckets."""
    found: Blobs = {group: set() for group in range(spec.GROUPS)}
    for number in range(spec.BUCKET_PARTITIONS):
        for extent in _extents(await _view(log, TopicPartition("events", number))):
            found[extent.group].add(bytes.fromhex(extent.blob))
    return found


async def _view(log: KafkaLog, at: TopicPartition) -> Readable:
    view, offset = Overlay(MemoryView()), await log.earliest(at)
    while records := await log.read(at, offset):
        for record in records:
            fold(view, log.identity, record.offset, record.value)
        offset = records[-1].offset + 1
    return view


def _extents(view: Readable) -> Iterator[Extent]:
    for _, bucket in tables.buckets(view):
        for _, found in tables.objects(view, bucket.incarnation):
            yield from found.extents
        for _, upload_id, _ in tables.uploads(view, bucket.incarnation):
            for _, part in tables.parts(view, upload_id):
                yield from part.extents
