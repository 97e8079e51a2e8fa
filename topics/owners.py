"""Who owns which partitions, for gateways that look for an owner and for owners that follow another: the topic `owners`.

An owner says so each second. Its lease lasts `LEASE_S` from before it was sent, by a clock that also counts while the
machine sleeps; an owner that stops says at once that it holds nothing any more.
"""

import msgspec

VERSION = 1
LEASE_S = 5.0
RENEW_S = 1.0


class Lease(msgspec.Struct, frozen=True):
    owner: str
    endpoint: str  # of its read service: http://host:port; empty: it has left
    epochs: dict[int, int]  # partition → epoch of the claim; without a partition once it is released
    held: set[int] = set()  # of these, where whoever owned them before can answer no read any more
    version: int = VERSION
    number: int = 0  # of what this owner said, counted up; 0: it does not count


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Lease)


def encode(lease: Lease) -> bytes:
    return _encoder.encode(lease)


def decode(data: bytes) -> Lease:
    """Raises `ValueError` for what is not a lease of this version."""
    lease = _decoder.decode(data)
    if lease.version != VERSION:
        raise ValueError(f"lease version {lease.version} is not known to this release")
    return lease
