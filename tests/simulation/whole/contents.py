"""Which bytes stand behind an ETag, and which ETag behind a value: so each answer can be held against what was sent.

A value is the number that a client gives to what it writes, in its metadata. Which ETag a copy has shows when it is done.
"""

import hashlib
from collections.abc import Sequence

from tests.simulation.invariants import CorruptionIsNeverServed


class Contents:
    def __init__(self) -> None:
        self._bytes: dict[str, bytes] = {}
        self._etags: dict[str, str] = {}

    def add(self, data: bytes) -> str:
        """Its ETag."""
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self._bytes[etag] = data
        return etag

    def join(self, etags: Sequence[str]) -> str:
        """The ETag of an object of parts, by theirs."""
        digests = b"".join(bytes.fromhex(each) for each in etags)
        data = b"".join(self._bytes[each] for each in etags)
        etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(etags)}"
        self._bytes[etag] = data
        self.add(data)  # of its copies
        return etag

    def size(self, etag: str) -> int:
        """Raises `CorruptionIsNeverServed` where nobody ever wrote something with that ETag."""
        if etag not in self._bytes:
            raise CorruptionIsNeverServed(f"nobody wrote anything with the ETag {etag}")
        return len(self._bytes[etag])

    def check(self, value: str, etag: str, size: int) -> None:
        """What is told of an object. Raises `CorruptionIsNeverServed`."""
        known = self._etags.setdefault(value, etag)
        if known != etag or size != self.size(etag):
            raise CorruptionIsNeverServed(f"value {value} has the ETag {etag} and {size} bytes, and not {known}")

    def check_bytes(self, etag: str, start: int, body: bytes) -> None:
        if body != self._bytes[etag][start : start + len(body)]:
            raise CorruptionIsNeverServed(f"these are not the bytes from {start} on of what has the ETag {etag}")
