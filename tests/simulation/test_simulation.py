"""Seeds hold, and planted bugs are caught, in each of the worlds: see `docs/HACKING.md`."""

import logging
from collections import Counter

import pytest

from tests.simulation.leftovers import changed, code
from tests.simulation.plants import Plant, hunt
from tests.simulation.seeds import first_seed
from tests.simulation.worlds import PLANTS, WORLDS

SLICE = 10  # seeds a test: pytest-xdist hands them to all processors
SEEDS = {"store": 80, "cluster": 80, "data": 40, "whole": 20}  # besides those that are to reach all
FIRST = first_seed()
REACHING_SEEDS = 20
REACHED = {
    "store": [
        "file made: archive",
        "file removed: archive",
        "file removed: journal",
        "file removed: volumes",
        "event: BucketDeleted",
        "event: UploadAborted",
        "multipart of 3",
        "compaction of small blobs",
        "compaction of a large blob",
        "disk_lost",
        "disk full once",
        "disks below their reserve",
        "disk failed once",
        "disk hangs",
        "sync failed",
        "disk hangs at start",
        "log scrubbed",
        "derived_removed",
        "zombie append",
        "PutObject refused: InvalidRequest",
        "DeleteBucket refused: BucketNotEmpty",
    ],
    "cluster": [
        "append landed twice",
        "append failed, landed in part",
        "usurped",
        "leases misread",
        "audit",
        "a topic cannot be followed",
        "the log cannot be read",
        "answered late",
        "what is old forgotten",
        "end of the log lost",
    ],
    "data": [
        "drain",
        "folder wiped",
        "index lost",
        "disk full",
        "rack away",
        "node added",
        "node removed",
        "wrong clock",
        "judge replaced",
        "raised EIO",
        "raised ENOSPC",
        "volume that cannot be synced",
        "disk hangs, cold",
        "node out for its disk",
        "large blob compacted",
    ],
    "whole": [
        "usurped",
        "power cut",
        "disk full",
        "gateway killed",
        "a machine is cut off from the brokers",
        "a gateway is cut off from the brokers while it is read from",
        "replies lost",
        "read slowly: 206",
        "PUT create: PreconditionFailed",
        "PUT write: no answer",
        "POST write: 200",
        "upload: copy: 200",
        "upload: abort: 204",
        "delete some: 200",
        "bucket: delete: BucketNotEmpty",
    ],
}
SLICES = [(name, first) for name, count in SEEDS.items() for first in range(0, count, SLICE)]
PLANTED = [
    pytest.param(name, plant, id=f"{name}-{plant.name}", marks=[pytest.mark.nightly] if plant.is_rare else [])
    for name, plants in PLANTS.items()
    for plant in plants
]


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.disable(logging.CRITICAL)


@pytest.mark.parametrize(("name", "slice_"), SLICES, ids=str)
def test_holds(name: str, slice_: int) -> None:
    for seed in range(FIRST + slice_, FIRST + slice_ + SLICE):
        try:
            WORLDS[name](seed).run()
        except Exception as error:
            raise AssertionError(f"repeat with: python -m tests.simulation {name} --seeds 1 --first {seed}") from error


@pytest.mark.parametrize("name", REACHED)
def test_reaches(name: str) -> None:
    """What rarely happens, and must happen for a seed to mean something. They are to hold like the others."""
    reached: Counter[str] = Counter()
    for seed in range(REACHING_SEEDS):
        world = WORLDS[name](seed)
        world.run()
        reached += world.reached
    assert {what for what in REACHED[name] if not reached[what]} == set()


@pytest.mark.parametrize(("name", "plant"), PLANTED)
def test_catches(name: str, plant: Plant) -> None:
    before = code()
    hunt(WORLDS[name], plant)
    assert changed(before) == []
