"""The read interface of the metadata store: what gateways may ask of the views. Only committed state is ever read."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from processors.machine import tables
from processors.machine.tables import Bucket, Object, Part, Upload
from processors.view import Readable
from topics.spec import bucket_partition

__all__ = [
    "Bucket",
    "Found",
    "Listing",
    "Object",
    "Part",
    "ReadUnavailable",
    "Reads",
    "Upload",
    "UploadListing",
    "ViewReads",
]


class ReadUnavailable(Exception):
    """No owner of the partition answered in time."""


class Found(NamedTuple):
    """What there is under a name: of one moment, and asked at once, for in a cluster each question is a way to an owner."""

    bucket: Bucket | None
    object: Object | None


class Listing(NamedTuple):
    contents: list[tuple[str, Object]]
    prefixes: list[str]
    next_marker: str  # the last name of this page where more follow, else empty


class UploadListing(NamedTuple):
    uploads: list[tuple[str, str, Upload]]
    prefixes: list[str]
    next_key: str
    next_upload: str


class Reads(Protocol):
    async def bucket(self, name: str) -> Bucket | None: ...

    async def buckets(self) -> list[tuple[str, Bucket]]: ...

    async def current(self, name: str, key: str) -> Found: ...

    async def listing(self, name: str, bucket: Bucket, prefix: str, delimiter: str, after: str, limit: int) -> Listing:
        """Names above `after`, grouped by `delimiter` after `prefix`; at most `limit` contents and prefixes together."""
        ...

    async def upload(self, name: str, bucket: Bucket, key: str, upload: str) -> Upload | None: ...

    async def uploads(
        self, name: str, bucket: Bucket, prefix: str, delimiter: str, after: tuple[str, str], limit: int
    ) -> UploadListing: ...

    async def parts(self, name: str, upload: str, after: int, limit: int) -> list[tuple[int, Part]]: ...


class ViewReads:
    """Straight from views of this process, by partition."""

    def __init__(self, views: Mapping[int, Readable]) -> None:
        self._views = views

    async def bucket(self, name: str) -> Bucket | None:
        return tables.bucket(self._view(name), name)

    async def buckets(self) -> list[tuple[str, Bucket]]:
        return sorted(row for view in self._views.values() for row in tables.buckets(view))

    async def current(self, name: str, key: str) -> Found:
        view = self._view(name)
        bucket = tables.bucket(view, name)
        return Found(bucket, None if bucket is None else tables.current(view, bucket.incarnation, key))

    async def listing(self, name: str, bucket: Bucket, prefix: str, delimiter: str, after: str, limit: int) -> Listing:
        return list_objects(self._view(name), bucket.incarnation, prefix, delimiter, after, limit)

    async def upload(self, name: str, bucket: Bucket, key: str, upload: str) -> Upload | None:
        return tables.upload(self._view(name), bucket.incarnation, key, upload)

    async def uploads(
        self, name: str, bucket: Bucket, prefix: str, delimiter: str, after: tuple[str, str], limit: int
    ) -> UploadListing:
        return list_uploads(self._view(name), bucket.incarnation, prefix, delimiter, after, limit)

    async def parts(self, name: str, upload: str, after: int, limit: int) -> list[tuple[int, Part]]:
        return _take(tables.parts(self._view(name), upload, after), limit)

    def _view(self, name: str) -> Readable:
        return self._views[bucket_partition(name)]


def list_objects(view: Readable, incarnation: str, prefix: str, delimiter: str, after: str, limit: int) -> Listing:
    contents: list[tuple[str, Object]] = []
    prefixes: list[str] = []
    start, end = prefix.encode(), _above(prefix)
    if after:
        group = _group(after, prefix, delimiter)
        start = max(start, _above(group) if group and group == after else after.encode() + b"\0")
    while start < end:
        for raw, row in tables.objects(view, incarnation, start, end):
            key = raw.decode()
            group = _group(key, prefix, delimiter)
            if len(contents) + len(prefixes) == limit:
                last = max(contents[-1][0] if contents else "", prefixes[-1] if prefixes else "", key=str.encode)
                return Listing(contents, prefixes, last)
            if group is not None:
                prefixes.append(group)
                start = _above(group)  # one seek over everything that shares the prefix
                break
            contents.append((key, row))
        else:
            break
    return Listing(contents, prefixes, "")


def list_uploads(
    view: Readable, incarnation: str, prefix: str, delimiter: str, after: tuple[str, str], limit: int
) -> UploadListing:
    found: list[tuple[str, str, Upload]] = []
    prefixes: list[str] = []
    last = ("", "")
    for key, upload_id, row in tables.uploads(view, incarnation, max(prefix, after[0]).encode()):
        if (key, upload_id) <= after or (not after[1] and key == after[0]):
            continue
        if not key.startswith(prefix):
            break
        group = _group(key, prefix, delimiter)
        if group is not None and (group in prefixes[-1:] or group == after[0]):
            continue
        if len(found) + len(prefixes) == limit:
            return UploadListing(found, prefixes, *last)
        if group is not None:
            prefixes.append(group)
            last = (group, "")
        else:
            found.append((key, upload_id, row))
            last = (key, upload_id)
    return UploadListing(found, prefixes, "", "")


def _group(key: str, prefix: str, delimiter: str) -> str | None:
    """The common prefix that `key` is rolled up into, if any."""
    if not delimiter:
        return None
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]


def _above(prefix: str) -> bytes:
    """Above every key that starts with `prefix`: UTF-8 has no byte 0xff."""
    return prefix.encode() + b"\xff"


def _take(rows: Iterator[tuple[int, Part]], limit: int) -> list[tuple[int, Part]]:
    return [row for _, row in zip(range(limit), rows, strict=False)]
