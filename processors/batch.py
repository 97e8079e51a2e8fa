"""A batch of commands, decided one after the other over an overlay: the events to append, and what to reply after that.

A command that cannot be decided is answered InternalError, or ServiceUnavailable where the view could not be read, and
leaves no event. Either tells that its outcome is unknown: a later owner may decide it.
"""

import logging
from typing import NamedTuple

from msgspec import UNSET

from processors.machine import tables
from processors.machine.apply import fold
from processors.machine.decide import Context, decide
from processors.view import Overlay, View
from topics import commands, events
from topics.log import VALUE_BYTES_MAX, Entry, Record
from topics.replies import Reply
from topics.spec import TopicPartition

log_ = logging.getLogger(__name__)


class Answer(NamedTuple):
    gateway: str
    reply: Reply
    is_in_log: bool  # whether an event says the same


class Batch:
    def __init__(self, view: View, log: str, at: TopicPartition, meta: tables.Meta, *, names_gateways: bool) -> None:
        """`log`: its identity. `at`: the partition of `commands`. `names_gateways`: a later owner may have to reply."""
        self._view = view
        self._log = log
        self._at = at
        self._names_gateways = names_gateways
        self._first = meta.offset
        self.overlay = Overlay(view)
        self.meta = meta
        self.entries: list[Entry] = []
        self.answers: list[Answer] = []

    def decide(self, record: Record, command: commands.Command) -> None:
        try:
            value, reply = self._decided(record, command)
        except OSError as error:
            log_.error("request %s cannot be decided: the view cannot be read: %s", command.request_id, error)
            value, reply = b"", Reply(command.request_id, "ServiceUnavailable")
        except Exception:
            log_.exception("request %s: deciding failed; this is a bug to report", command.request_id)
            value, reply = b"", Reply(command.request_id, "InternalError", "We encountered an internal error.")
        self.answers.append(Answer(command.reply_to, reply, bool(value)))
        if value:
            self.entries.append(Entry(record.key, value))

    def add(self, entry: Entry) -> None:
        """A decision that no command asked for."""
        self._fold(entry.value)
        self.entries.append(entry)

    def _decided(self, record: Record, command: commands.Command) -> tuple[bytes, Reply]:
        """The record of the decision, folded into the overlay, if there is any; and the reply."""
        time_ms = max(self.meta.time_ms, record.time_ms)
        event, reply = decide(self.overlay, command, Context(record.offset, record.time_ms, time_ms))
        if event is None:
            return b"", reply
        decision = events.Decision(
            self.meta.epoch,
            self.meta.sequence + 1,
            record.offset,
            time_ms,
            command.principal,
            command.request_id,
            f"{record.offset:016x}",
            event,
            reply_to=(command.reply_to or UNSET) if self._names_gateways else UNSET,
        )
        value = events.encode(decision)
        if len(record.key) + len(value) > VALUE_BYTES_MAX:  # its append would fail again and again
            where = f"offset {record.offset} of {self._at.topic}:{self._at.partition}"
            raise ValueError(f"{where} is left out: its event would be too large; bucketlog did not write that")
        self._fold(value)
        return value, reply

    def _fold(self, value: bytes) -> None:
        try:
            fold(self.overlay, self._log, self.meta.offset, value)
        except Exception:
            self._undo()
            raise
        self.meta = tables.meta(self.overlay)

    def _undo(self) -> None:
        """Take away what half of a fold left in the overlay."""
        self.overlay = Overlay(self._view)
        for offset, entry in enumerate(self.entries, self._first):
            fold(self.overlay, self._log, offset, entry.value)
