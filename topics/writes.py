"""Payloads on their way to the volumes: the records of the topic `writes`. A blob's id is the record's key.

The value's first byte tells what it is: a payload, or the release of one.
"""

PAYLOAD = b"\x01"
RELEASE = b"\x02"


def payload(data: bytes) -> bytes:
    return PAYLOAD + data


def is_release(value: bytes) -> bool:
    """Raises `ValueError` for what is neither a payload nor a release."""
    kind = value[:1]
    if kind not in (PAYLOAD, RELEASE):
        raise ValueError(f"unknown kind of write {kind!r}")
    return kind == RELEASE
