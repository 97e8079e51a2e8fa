"""The event stream beside a history: the writes of each key, each once, in an order that the clients' clock allows."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.linearizability.operations import Operation


def check_events(bucket: str, events: Iterable[Mapping[str, Any]], operations: Sequence[Operation]) -> list[str]:
    """What is wrong; `events` as `bucketlog events tail` prints them, of one bucket."""
    history: dict[str, list[str | None]] = defaultdict(list)  # values by key, None where it was deleted
    for event in (each["event"] for each in events):
        if event["eventName"].startswith("ObjectCreated"):
            history[event["key"]].append(f'"{event["eTag"]}"')
        elif event["eventName"].startswith("ObjectRemoved"):
            history[event["key"]].append(None)
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for each in operations:
        where, _, key = each.key.partition("/")
        if where == bucket:
            by_key[key].append(each)
    return [f"{bucket}/{key}: {found}" for key, asked in by_key.items() for found in _check_key(history[key], asked)]


def _check_key(values: list[str | None], operations: list[Operation]) -> Iterable[str]:
    writes = {each.value: each for each in operations if each.kind != "read" and each.value is not None}
    created = [value for value in values if value is not None]
    for value in set(created):
        if created.count(value) > 1:
            yield f"{value} is in the stream more than once"
        if value not in writes:
            yield f"{value} is in the stream, and nobody wrote it"
    for value, each in writes.items():
        if each.ended is not None and value not in created:
            yield f"{value} was acknowledged and is not in the stream"
    deleted = sum(each.kind in {"write", "replace"} and each.value is None for each in operations)
    if len(values) - len(created) > deleted:
        yield "there are more deletions in the stream than were asked for"
    last: Operation | None = None  # of those so far, the one that was asked for last
    for write in (writes[value] for value in created if value in writes):
        if last is not None and write.ended is not None and write.ended < last.started:
            yield f"{last.value} is before {write.value} in the stream, and was asked for after it was acknowledged"
        if last is None or write.started > last.started:
            last = write
    last_read = max((each for each in operations if each.kind == "read"), key=lambda each: each.started, default=None)
    if last_read is not None and last_read.value != (values[-1] if values else None):
        yield f"the stream ends with {values[-1:]}, and {last_read.value} was read last"
