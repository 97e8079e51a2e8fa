"""`apply`: the only writer of the view. An unknown event stops loudly; a fact missing from the view does too.

Whatever loses its last reference here is noted as garbage under the event's position; the release reactor gives it back
to the volumes, and `BlobsReleased` clears the note. A blob counts as referenced until then.
The work of an event is bounded. Many parts are dropped as they are: nobody can see them any more, and `PartsDiscarded`
makes them garbage bit by bit.
"""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import assert_never

from processors.machine import membership, tables
from processors.machine.tables import Cut, Dropped, DroppedRow
from processors.view import Overlay
from topics import events
from topics.objects import Extent
from topics.reader import ReaderState

HASH_BYTES = 16
ROWS_AT_ONCE_MAX = 256  # more parts and uploads are made garbage bit by bit


class EventOutOfPlace(ValueError):
    """An event that cannot have come after what the view has: one of the two is not of this log."""


def digest(previous: bytes, value: bytes) -> bytes:
    """The running hash after a record, from the one before it."""
    return hashlib.blake2b(previous + value, digest_size=HASH_BYTES).digest()


def fold(view: Overlay, log: str, offset: int, value: bytes) -> events.Decision | None:
    """Fold one record of `events` into the view, data and progress together; None where the record is void.

    Raises `ValueError` for a record that no codec knows, `EventOutOfPlace`.
    """
    before = tables.meta(view)
    decision = events.decode(value)
    reader = ReaderState(before.epoch, before.sequence).accept(decision)
    running = digest(before.hash, value)
    if reader is None:
        after = tables.Meta(
            log,
            offset + 1,
            before.epoch,
            before.sequence,
            before.cause,
            before.time_ms,
            running,
            before.hash,
            before.releases,
            tables.SCHEMA,
        )
    else:
        cause = max(before.cause, decision.cause)
        releases = _releases(before.releases, decision.event)
        after = tables.Meta(
            log,
            offset + 1,
            reader.epoch,
            reader.sequence,
            cause,
            decision.time_ms,
            running,
            before.hash,
            releases,
            tables.SCHEMA,
        )
        apply(view, offset, decision)
    tables.put(view, tables.META_KEY, after)
    return None if reader is None else decision


def _releases(before: tuple[str, ...], event: events.Event) -> tuple[str, ...]:
    """An owner decides nothing before it has settled what those of other releases may have refused."""
    if isinstance(event, events.Claimed):
        return (*(each for each in before if each != event.release), event.release)
    return before[-1:]


def apply(view: Overlay, position: int, decision: events.Decision) -> None:
    event = decision.event
    match event:
        case events.Claimed() | events.CommandsDecided():
            pass
        case events.BucketCreated():
            row = tables.Bucket(event.owner, event.region, event.incarnation, decision.time_ms)
            tables.put(view, tables.bucket_key(event.bucket), row)
        case events.BucketDeleted():
            _delete_bucket(view, position, event)
        case events.ObjectCreated() | events.ObjectCopied():
            _put_object(view, position, event, decision.time_ms)
        case events.ObjectRemoved():
            bucket = _bucket(view, event.bucket)
            _discard(view, position, _replaced(view, bucket, event.key))
            view.delete(tables.object_key(bucket.incarnation, event.key))
        case events.UploadCreated():
            bucket, private = _bucket(view, event.bucket), event.private
            upload = tables.Upload(
                decision.time_ms,
                private.initiator,
                private.attributes,
                private.checksum_algorithm,
                private.checksum_kind,
            )
            tables.put(view, tables.upload_key(bucket.incarnation, event.key, event.upload_id), upload)
        case events.PartUploaded():
            _put_part(view, position, event, decision.time_ms)
        case events.UploadCompleted():
            _complete(view, position, event, decision.time_ms)
        case events.UploadAborted():
            bucket = _bucket(view, event.bucket)
            _discard(view, position, _drop_upload(view, position, bucket, event.key, event.upload_id))
        case events.PartsDiscarded():
            _discard_parts(view, position, event)
        case events.BlobsReleased():
            _forget_released(view, min(Cut(event.below, event.number), Cut(position)))
        case events.OrphansFound():
            for _, blob in event.blobs:
                view.put(tables.blob_key(blob), tables.ORPHANED)
            _note_garbage(view, position, event.blobs)
        case (
            events.NodeChanged()
            | events.NodeRemoved()
            | events.GroupHeld()
            | events.CopiesSet()
            | events.OutShareSet()
            | events.Paused()
            | events.Resumed()
        ):
            tables.put(view, tables.PLACEMENT_KEY, membership.apply(tables.placement(view), event))
        case _:
            assert_never(event)


def _forget_released(view: Overlay, below: Cut) -> None:
    for at, blobs in list(tables.garbage(view, end=below)):
        view.delete(tables.garbage_key(at))
        for _, blob in blobs:
            if tables.reference(view, blob) == tables.REFERENCED:
                view.delete(tables.blob_key(blob))
    if below > tables.garbage_from(view):
        tables.put(view, tables.GARBAGE_FROM_KEY, below)


def _discard_parts(view: Overlay, position: int, event: events.PartsDiscarded) -> None:
    row = tables.dropped_at(view, event.dropped_at)
    if row is None:
        raise ValueError(f"nothing was dropped at {event.dropped_at}: rebuild the view")
    cut = _up_to(tables.dropped_rows(view, row), (event.key, event.upload_id, event.part_number))
    if event.is_last:
        view.delete(tables.dropped_key(event.dropped_at))
    _discard(view, position, _delete_rows(view, row, cut))


def _up_to(rows: Iterator[DroppedRow], last: tuple[str, str, int]) -> list[DroppedRow]:
    found = []
    for row in rows:
        found.append(row)
        if row[:3] == last:
            break
    return found


def _bucket(view: Overlay, name: str) -> tables.Bucket:
    bucket = tables.bucket(view, name)
    if bucket is None:
        raise EventOutOfPlace(f"event on bucket {name}, which is not in the view: rebuild the view")
    return bucket


def _delete_bucket(view: Overlay, position: int, event: events.BucketDeleted) -> None:
    bucket = _bucket(view, event.bucket)
    _discard(view, position, _drop(view, position, Dropped(bucket.incarnation)))
    view.delete(tables.bucket_key(event.bucket))


def _put_object(view: Overlay, position: int, event: events.ObjectCreated, time_ms: int) -> None:
    bucket, private = _bucket(view, event.bucket), event.private
    _discard(view, position, _replaced(view, bucket, event.key))
    _refer(view, private.extents)
    row = tables.Object(
        event.size,
        event.etag,
        time_ms,
        event.version_id,
        private.attributes,
        private.extents,
        private.checksum,
    )
    tables.put(view, tables.object_key(bucket.incarnation, event.key), row)


def _put_part(view: Overlay, position: int, event: events.PartUploaded, time_ms: int) -> None:
    replaced = tables.part(view, event.upload_id, event.part_number)
    if replaced is not None:
        _discard(view, position, replaced.extents)
    _refer(view, event.private.extents)
    row = tables.Part(event.size, event.etag, time_ms, event.private.extents, event.private.checksum)
    tables.put(view, tables.part_key(event.upload_id, event.part_number), row)


def _complete(view: Overlay, position: int, event: events.UploadCompleted, time_ms: int) -> None:
    bucket = _bucket(view, event.bucket)
    upload = tables.upload(view, bucket.incarnation, event.key, event.upload_id)
    parts = [(number, tables.part(view, event.upload_id, number)) for number in event.private.parts]
    if upload is None or any(part is None for _, part in parts):
        raise EventOutOfPlace(f"upload {event.upload_id} is not whole in the view: rebuild the view")
    taken = [(number, part) for number, part in parts if part is not None]
    row = tables.Object(
        event.size,
        event.etag,
        time_ms,
        event.version_id,
        upload.attributes,
        [extent for _, part in taken for extent in part.extents],
        event.private.checksum,
        event.upload_id,
        [(number, part.size, part.checksum.value if part.checksum else "") for number, part in taken],
    )
    garbage = _replaced(view, bucket, event.key)
    garbage += _drop_upload(view, position, bucket, event.key, event.upload_id, event.private.parts)
    _discard(view, position, garbage)
    tables.put(view, tables.object_key(bucket.incarnation, event.key), row)


def _drop_upload(
    view: Overlay, position: int, bucket: tables.Bucket, key: str, upload_id: str, kept: Sequence[int] = ()
) -> list[Extent]:
    """What is garbage at once."""
    view.delete(tables.upload_key(bucket.incarnation, key, upload_id))
    return _drop(view, position, Dropped(bucket.incarnation, upload_id, list(kept)))


def _drop(view: Overlay, position: int, dropped: Dropped) -> list[Extent]:
    """What is garbage at once: all of it, or none where there is much."""
    rows = list(itertools.islice(tables.dropped_rows(view, dropped), ROWS_AT_ONCE_MAX + 1))
    if len(rows) <= ROWS_AT_ONCE_MAX:
        return _delete_rows(view, dropped, rows)
    tables.put(view, tables.dropped_key(position), dropped)
    return []


def _delete_rows(view: Overlay, dropped: Dropped, rows: Sequence[DroppedRow]) -> list[Extent]:
    """What they gave up."""
    for key, upload_id, number, _ in rows:
        is_upload = number == tables.UPLOAD_ROW
        view.delete(
            tables.upload_key(dropped.incarnation, key, upload_id) if is_upload else tables.part_key(upload_id, number)
        )
    return [extent for *_, extents in rows for extent in extents]


def _replaced(view: Overlay, bucket: tables.Bucket, key: str) -> list[Extent]:
    existing = tables.current(view, bucket.incarnation, key)
    return [] if existing is None else existing.extents


def _refer(view: Overlay, extents: Iterable[Extent]) -> None:
    for extent in extents:
        view.put(tables.blob_key(extent.blob), tables.REFERENCED)


def _discard(view: Overlay, position: int, extents: Iterable[Extent]) -> None:
    _note_garbage(view, position, [(extent.group, extent.blob) for extent in extents])


def _note_garbage(view: Overlay, position: int, blobs: Sequence[tuple[int, str]]) -> None:
    """Once an event: its rows are numbered from 0."""
    for number, start in enumerate(range(0, len(blobs), tables.BLOBS_MAX)):
        row = list(blobs[start : start + tables.BLOBS_MAX])
        tables.put(view, tables.garbage_key(Cut(position, number)), row)
