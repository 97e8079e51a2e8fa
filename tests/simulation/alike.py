"""`python -m tests.simulation.alike WORLD SEED...`: a digest of each, to be compared with that of another process."""

import hashlib
import logging
import sys

from tests.simulation.worlds import WORLDS


def digest(name: str, seed: int) -> str:
    """Of what a world drew and reached, and of its log and disks as they are at the end."""
    world = WORLDS[name](seed)
    world.run()
    found = hashlib.sha256(f"{world.rng.getstate()} {sorted(world.reached.items())} {world.now_s}".encode())
    for data in world.remains():
        found.update(data)
    return found.hexdigest()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    for each in sys.argv[2:]:
        print(digest(sys.argv[1], int(each)))
