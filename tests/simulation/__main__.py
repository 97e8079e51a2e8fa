"""`python -m tests.simulation [store|cluster|data] --seeds N [--first M]`: run seeds and print what they reached."""

import argparse
import sys
import traceback
from collections import Counter
from collections.abc import Callable

from tests.simulation.cluster.world import ClusterWorld
from tests.simulation.data.world import DataWorld
from tests.simulation.world import World

WORLDS: dict[str, Callable[[int], World | ClusterWorld | DataWorld]] = {
    "store": World,
    "cluster": ClusterWorld,
    "data": DataWorld,
}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("worlds", nargs="*", default=list(WORLDS), help=f"of {', '.join(WORLDS)}")
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    return sum(not _holds(name, seeds) for name in options.worlds)


def _holds(name: str, seeds: range) -> bool:
    reached: Counter[str] = Counter()
    for seed in seeds:
        world = WORLDS[name](seed)
        try:
            world.run()
        except Exception:  # noqa: BLE001 - told with the command that repeats it
            traceback.print_exc()
            print(f"seed {seed} failed; again with: python -m tests.simulation {name} --seeds 1 --first {seed}")
            return False
        reached += world.reached
    for what, count in sorted(reached.items()):
        print(f"{count:8} {what}")
    print(f"{name}: {len(seeds)} seeds hold")
    return True


if __name__ == "__main__":
    sys.exit(main())
