"""`python -m tests.simulation [store|cluster|data] --seeds N [--first M]`: run seeds and print what they reached."""

import argparse
import sys
import traceback
from collections import Counter

from tests.simulation.seeds import first_seed
from tests.simulation.worlds import WORLDS


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("worlds", nargs="*", default=list(WORLDS), help=f"of {', '.join(WORLDS)}")
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--fresh", action="store_true", help="seeds that the commit chooses, as CI does")
    options = parser.parse_args()
    first = first_seed() if options.fresh else options.first
    print(f"seeds from {first} on")
    seeds = range(first, first + options.seeds)
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
