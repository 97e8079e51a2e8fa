"""How far the reads of payloads are at each gateway, for owners that give garbage back: the topic `readers`.

Owners append marks. A gateway follows the topic; it stamps each read with how far it was in the topic when the read began,
and says each second how old its oldest stamp is. So the topic orders reads and marks, and no clock does.
What a gateway says is good for `LEASE_S` from before it was sent. One that cannot say so ends its reads before that.
"""

import msgspec

from topics.spec import TopicPartition

VERSION = 1
AT = TopicPartition("readers", 0)
LEASE_S = 5.0
SAY_EVERY_S = 1.0


class Reading(msgspec.Struct, frozen=True, tag="Reading"):
    gateway: str
    oldest: int  # all records below this offset had been seen when its oldest read began; without any, that are seen now
    has_left: bool = False  # it reads no more
    version: int = VERSION


class Mark(msgspec.Struct, frozen=True, tag="Mark"):
    owner: str
    number: int  # counted up
    version: int = VERSION


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Reading | Mark)


def encode(said: Reading | Mark) -> bytes:
    return _encoder.encode(said)


def decode(data: bytes) -> Reading | Mark:
    """Raises `ValueError` for what is neither of this version."""
    said: Reading | Mark = _decoder.decode(data)
    if said.version != VERSION:
        raise ValueError(f"version {said.version} of what readers say is not known to this release")
    return said
