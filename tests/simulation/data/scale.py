"""A data plane that is smaller, so that much happens to little."""

from msgspec.structs import replace

from datanode import compaction, fetch, heartbeat, leader, recovery, verdict, volume
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
    patch.setattr(verdict, "PROBE_EVERY_S", 0.5)
    patch.setattr(verdict, "FAILING_S", 1.0)
    patch.setattr(verdict, "HUNG_S", 3.0)
    patch.setattr(volume, "SYNC_S_MAX", 3.0)
    patch.setattr(recovery, "FOUND_AT_ONCE", 2)
    patch.setattr(recovery, "REMOVED_AT_ONCE", 2)
    patch.setattr(compaction, "SMALL_BYTES", 10_000)
