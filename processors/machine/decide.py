"""`decide`: a command against the view gives an event or none, and a reply. Reads, never writes.

| command | rejected with | event |
|---|---|---|
| CreateBucket | BucketAlreadyOwnedByYou, BucketAlreadyExists | BucketCreated |
| DeleteBucket | NoSuchBucket, BucketNotEmpty | BucketDeleted |
| PutObject | NoSuchBucket, NoSuchKey, PreconditionFailed, see `_check_blobs` | ObjectCreated:Put or :Copy |
| DeleteObject | NoSuchBucket, NoSuchKey, PreconditionFailed | ObjectRemoved:Delete; none where there is no such key |
| CreateUpload | NoSuchBucket | MultipartUpload:Created |
| PutPart | NoSuchBucket, NoSuchUpload, see `_check_blobs` | MultipartUpload:Part |
| CompleteUpload | as PutObject, NoSuchUpload, see `complete` | ObjectCreated:CompleteMultipartUpload |
| AbortUpload | NoSuchBucket, NoSuchUpload | MultipartUpload:Aborted |
| DiscardParts | | PartsDiscarded; none where nothing was dropped |
| ForgetReleased | | BlobsReleased |
| ReleaseOrphans | | OrphansFound; none where all of them are referred to |
| of data nodes | see `membership` | |
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from processors.machine import complete, membership, tables
from processors.machine.rejection import Rejected
from processors.view import Readable
from topics import commands, events
from topics.objects import Extent, Preconditions
from topics.replies import Reply

PARTS_DISCARDED_MAX = 500  # at once: a few milliseconds
NULL_VERSION = "null"  # S3's version id in a bucket without versioning
_DONE = Reply("")  # nothing to tell but that it is done


class Outcome(NamedTuple):
    event: events.Event | None
    reply: Reply


class Context(NamedTuple):
    """What the log says of a command."""

    offset: int  # in its partition of `commands`
    appended_ms: int  # Unix time by the log's clock, as it was: a clock may have been ahead, and set back
    time_ms: int  # that, made monotonic in the partition


def decide(view: Readable, command: commands.Command, context: Context) -> Outcome:
    """The deadline is held against the raw clock: one that was ahead would otherwise have every command rejected until
    real time caught up.
    """
    try:
        if context.appended_ms > command.deadline_ms:
            raise Rejected("RequestTimeout", "The command reached the log after its deadline.")
        found = _decide(view, command)
    except Rejected as rejected:
        return Outcome(None, _refusal(rejected, command.request_id, context.time_ms))
    if isinstance(found, Reply):
        return Outcome(None, msgspec.structs.replace(found, request_id=command.request_id, time_ms=context.time_ms))
    return Outcome(found, answer(found, command.request_id, context.time_ms))


def _refusal(rejected: Rejected, request_id: str, time_ms: int) -> Reply:
    return Reply(request_id, rejected.code, rejected.message, time_ms=time_ms, details=rejected.details)


def answer(event: events.Event, request_id: str, time_ms: int) -> Reply:
    """What is replied to the command that an event came from; also to be told again by a later owner."""
    match event:
        case events.ObjectCreated() | events.ObjectCopied():
            return Reply(request_id, etag=event.etag, version_id=event.version_id, time_ms=time_ms)
        case events.PartUploaded():
            return Reply(request_id, etag=event.etag, time_ms=time_ms)
        case events.UploadCompleted():
            checksum = event.private.checksum
            return Reply(
                request_id,
                etag=event.etag,
                version_id=event.version_id,
                time_ms=time_ms,
                size=event.size,
                checksum=checksum,
            )
        case _:
            return Reply(request_id, time_ms=time_ms)


def _decide(view: Readable, command: commands.Command) -> events.Event | Reply:
    """An event, or the reply to a command that changes nothing."""
    body = command.body
    match body:
        case commands.CreateBucket():
            return _create_bucket(view, body, command.principal)
        case commands.DeleteBucket():
            return _delete_bucket(view, body)
        case commands.PutObject():
            return _put_object(view, body)
        case commands.DeleteObject():
            return _delete_object(view, body)
        case commands.CreateUpload():
            _bucket(view, body.bucket)
            private = events.UploadPrivate(body.attributes, body.checksum_algorithm, body.checksum_kind, command.principal)
            return events.UploadCreated(body.bucket, body.key, body.upload, private)
        case commands.PutPart():
            _upload(view, body)
            _check_blobs(view, body.extents)
            part = events.PartPrivate(body.extents, body.checksum)
            return events.PartUploaded(body.bucket, body.key, body.upload, body.number, body.size, body.etag, part)
        case commands.CompleteUpload():
            return _complete_upload(view, body)
        case commands.AbortUpload():
            _upload(view, body)
            return events.UploadAborted(body.bucket, body.key, body.upload)
        case commands.ForgetReleased():
            return events.BlobsReleased(body.below, body.number)
        case commands.DiscardParts():
            return _discard_parts(view)
        case commands.ReleaseOrphans():
            orphans = [each for each in body.blobs if tables.reference(view, each[1]) != tables.REFERENCED]
            return events.OrphansFound(orphans) if orphans else _DONE
        case _:
            return membership.decide(tables.placement(view), body) or _DONE


def _discard_parts(view: Readable) -> events.Event | Reply:
    """At most PARTS_DISCARDED_MAX of what was dropped first."""
    for position, row in tables.dropped(view):
        cut = list(itertools.islice(tables.dropped_rows(view, row), PARTS_DISCARDED_MAX + 1))
        key, upload, number, _ = cut[:PARTS_DISCARDED_MAX][-1] if cut else ("", "", 0, [])
        return events.PartsDiscarded(position, key, upload, number, is_last=len(cut) <= PARTS_DISCARDED_MAX)
    return _DONE


def _create_bucket(view: Readable, body: commands.CreateBucket, principal: str) -> events.Event:
    existing = tables.bucket(view, body.bucket)
    if existing is not None:
        if existing.owner == principal:
            raise Rejected("BucketAlreadyOwnedByYou")
        raise Rejected("BucketAlreadyExists")
    return events.BucketCreated(body.bucket, principal, body.region, body.incarnation)


def _delete_bucket(view: Readable, body: commands.DeleteBucket) -> events.Event:
    bucket = _bucket(view, body.bucket)
    if next(tables.objects(view, bucket.incarnation), None) is not None:
        raise Rejected("BucketNotEmpty")
    return events.BucketDeleted(body.bucket)


def _put_object(view: Readable, body: commands.PutObject) -> events.Event:
    bucket = _bucket(view, body.bucket)
    check(tables.current(view, bucket.incarnation, body.key), body.preconditions)
    _check_blobs(view, body.extents)
    private = events.ObjectPrivate(body.extents, body.attributes, body.checksum)
    kind = events.ObjectCopied if body.copied else events.ObjectCreated
    return kind(body.bucket, body.key, body.size, body.etag, NULL_VERSION, private)


def _delete_object(view: Readable, body: commands.DeleteObject) -> events.Event | Reply:
    bucket = _bucket(view, body.bucket)
    existing = tables.current(view, bucket.incarnation, body.key)
    check(existing, body.preconditions)
    if existing is None:
        return _DONE
    return events.ObjectRemoved(body.bucket, body.key, NULL_VERSION)


def _complete_upload(view: Readable, body: commands.CompleteUpload) -> events.Event | Reply:
    bucket = _bucket(view, body.bucket)
    existing = tables.current(view, bucket.incarnation, body.key)
    upload = tables.upload(view, bucket.incarnation, body.key, body.upload)
    if upload is None and existing is not None and existing.upload == body.upload:
        # a client that never saw our answer asks again: it gets the same one
        return Reply("", etag=existing.etag, checksum=existing.checksum, version_id=NULL_VERSION)
    if upload is None:
        raise Rejected("NoSuchUpload")
    check(existing, body.preconditions)
    whole = complete.join(view, upload, body)
    return events.UploadCompleted(
        body.bucket,
        body.key,
        whole.size,
        whole.etag,
        NULL_VERSION,
        body.upload,
        events.CompletedPrivate([part.number for part in body.parts], whole.checksum),
    )


def check(existing: tables.Object | None, wanted: Preconditions) -> None:
    """Raise what a write's If-Match and If-None-Match ask for (S3 API: Conditional writes)."""
    if wanted.if_match:
        if existing is None:
            raise Rejected("NoSuchKey")
        if wanted.if_match not in ("*", existing.etag):
            raise Rejected("PreconditionFailed", Condition="If-Match")
    if wanted.if_none_match and existing is not None and wanted.if_none_match in ("*", existing.etag):
        raise Rejected("PreconditionFailed", Condition="If-None-Match")


def _check_blobs(view: Readable, extents: Sequence[Extent]) -> None:
    """A request that took so long that its blobs were taken for orphans comes too late.

    Blobs that an object has are its own: their command was carried out before, and this is another copy of it.
    """
    known = {tables.reference(view, extent.blob) for extent in extents}
    if tables.ORPHANED in known:
        raise Rejected("RequestTimeout")
    if tables.REFERENCED in known:
        raise Rejected("ServiceUnavailable")  # for whoever asked, the outcome is not known: nothing is to be released


def _bucket(view: Readable, name: str) -> tables.Bucket:
    bucket = tables.bucket(view, name)
    if bucket is None:
        raise Rejected("NoSuchBucket")
    return bucket


def _upload(view: Readable, body: commands.PutPart | commands.AbortUpload) -> tables.Upload:
    bucket = _bucket(view, body.bucket)
    upload = tables.upload(view, bucket.incarnation, body.key, body.upload)
    if upload is None:
        raise Rejected("NoSuchUpload")
    return upload
