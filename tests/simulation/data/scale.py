"""A data plane that is smaller, so that much happens to little."""

from msgspec.structs import replace

from datanode import fetch, heartbeat, leader
from gateway import payload
from tests.simulation.plants import Patch
from topics import placement, spec

GROUPS = 4
TOPICS = [replace(each, partitions=GROUPS) if each == spec.WRITES else each for each in spec.CLUSTER]


def shrink(patch: Patch) -> None:
    patch.setattr(placement, "GROUPS", GROUPS)
    patch.setattr(payload, "EXTENT_BYTES_MAX", 40_000)
    patch.setattr(fetch, "WINDOW_BYTES", 20_000)
    patch.setattr(fetch, "SMALL_BYTES", 10_000)
    patch.setattr(fetch, "PAGE_BLOBS", 3)
    patch.setattr(leader, "CHUNKS_MAX", 2)
    patch.setattr(heartbeat, "CLOCK_EVERY", 2)
