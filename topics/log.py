"""The `Log` port: partitioned, append-only, ordered. Adapters: `memory` (tests), `embedded` (default).

Order: records of one partition have rising offsets in the order of their appends; offsets may have gaps (a failed append
burns its own). Durability: `append(durable=True)` returns once its records, and every record appended before them, would
outlive a power cut. Errors: every method may raise `LogError`; after a failed or cancelled append it is unknown whether
the records are in the log, and readers may find them later.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol, TypeVar

import msgspec

from topics.spec import EVENTS, TopicPartition, TopicSpec

T = TypeVar("T")
VALUE_BYTES_MAX = 1 << 20  # Kafka's default message.max.bytes: a record that fits here fits every adapter


class LogError(Exception):
    """The log could not do what was asked; the text says what an operator can do about it."""


class RecordTooLarge(LogError):
    """A key and value together exceed `VALUE_BYTES_MAX`; nothing of the append is in the log."""


class LogCorrupt(LogError):
    """A record that was durable fails its checksum or is missing."""


class OffsetTrimmed(LogError):
    """The offset asked for is below the earliest one kept."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What is appended: a key (routing and compaction) and a value, both opaque here."""

    key: bytes
    value: bytes


class Record(msgspec.Struct, frozen=True, gc=False):
    """An entry in its place: `offset` in its partition; `time_ms`: what the log's clock said at the append (Unix, ms).

    A clock may be set, so times may go back from one record to the next: who needs them to rise makes them so.
    """

    offset: int
    time_ms: int
    key: bytes
    value: bytes


def check_size(entries: Sequence[Entry]) -> None:
    """Raise `RecordTooLarge` if any entry is over the bound that every adapter shares."""
    for entry in entries:
        size = len(entry.key) + len(entry.value)
        if size > VALUE_BYTES_MAX:
            raise RecordTooLarge(f"a record of {size} bytes exceeds {VALUE_BYTES_MAX}")


class UnknownRecord(ValueError):
    """No codec of this release knows a record; the text says what to do."""


def decoded(at: TopicPartition, record: Record, decode: Callable[[bytes], T]) -> T:
    """What a record says. Raises `UnknownRecord` where `decode` raises `ValueError`."""
    try:
        return decode(record.value)
    except ValueError as error:
        where = f"{at.topic}:{at.partition}"
        advice = "upgrade bucketlog"
        if at.topic == EVENTS.name:
            advice += "; nothing else may write that topic, and nothing may be deleted from it"
        else:
            advice += f", or, if it did not write that, delete the records of {where} up to there"
        raise UnknownRecord(f"offset {record.offset} of {where} cannot be read: {error}; {advice}") from error


class Log(Protocol):
    @property
    def identity(self) -> str:
        """A random id minted when the log was created; a log made anew has another."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether the entries of one append may be in the log twice, the second time behind records of others."""
        ...

    async def create_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Create what is missing; idempotent. A different partition count of an existing topic is a `LogError`."""
        ...

    async def append(self, at: TopicPartition, entries: Sequence[Entry], *, durable: bool) -> list[int]:
        """Append in order and return the offsets. One call is one batch, not one transaction.

        `durable=False` returns before the sync; the records are synced at the latest with the next durable append, which
        may be one of no entries.
        Raises `RecordTooLarge` before anything is appended.
        """
        ...

    async def read(self, at: TopicPartition, offset: int, *, records_max: int = 1_000) -> list[Record]:
        """Visible records from the first offset >= `offset`, at most `records_max`; empty at the end of the log.

        Raises `OffsetTrimmed` below the earliest offset.
        """
        ...

    def follow(self, at: TopicPartition, offset: int) -> AsyncIterator[list[Record]]:
        """`read` for ever: waits for new visible records and yields them in batches, never empty."""
        ...

    async def earliest(self, at: TopicPartition) -> int:
        """The lowest offset that can be read (the next offset where the partition is empty)."""
        ...

    async def latest(self, at: TopicPartition) -> int:
        """The next offset a visible record could get: all visible records lie below it."""
        ...

    async def trim(self, at: TopicPartition, before: int) -> None:
        """Give up records below `before`; idempotent; never lowers the next offset."""
        ...
