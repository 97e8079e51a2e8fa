"""`python -m tests.simulation --seeds N [--first M]`: run seeds and print what they reached."""

import argparse
import sys
import traceback
from collections import Counter

from tests.simulation.world import World


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    reached: Counter[str] = Counter()
    for seed in range(options.first, options.first + options.seeds):
        world = World(seed)
        try:
            world.run()
        except Exception:  # noqa: BLE001 - told with the command that repeats it
            traceback.print_exc()
            print(f"seed {seed} failed; again with: python -m tests.simulation --seeds 1 --first {seed}")
            return 1
        reached += world.reached
    for what, count in sorted(reached.items()):
        print(f"{count:8} {what}")
    print(f"{options.seeds} seeds hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
