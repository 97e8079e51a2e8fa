"""`python -m tests.simulation [store|cluster|data|whole] --seeds N [--first M]`: run seeds and print what they reached."""

import argparse
import logging
import sys
import traceback
from collections import Counter
from collections.abc import Sequence

from tests.simulation.plan import Fault
from tests.simulation.seeds import first_seed
from tests.simulation.shrink import shrunk
from tests.simulation.worlds import WORLDS


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("worlds", nargs="*", default=list(WORLDS), help=f"of {', '.join(WORLDS)}")
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shrink", action="store_true", help="of a seed that fails, print the fewest faults that it takes")
    parser.add_argument("--fresh", action="store_true", help="seeds that the commit chooses, as CI does")
    options = parser.parse_args()
    first = first_seed() if options.fresh else options.first
    print(f"seeds from {first} on")
    seeds = range(first, first + options.seeds)
    return sum(not _holds(name, seeds, shrinks=options.shrink) for name in options.worlds)


def _holds(name: str, seeds: range, *, shrinks: bool) -> bool:
    """Runs all of them, whichever fail."""
    reached: Counter[str] = Counter()
    failed = list[int]()
    for seed in seeds:
        world = WORLDS[name](seed)
        try:
            world.run()
        except Exception as error:  # noqa: BLE001 - told with the command that repeats it
            traceback.print_exc()
            print(f"seed {seed} failed; again with: python -m tests.simulation {name} --seeds 1 --first {seed}")
            if shrinks:
                _shrink(name, seed, world.faults, type(error))
            failed.append(seed)
        reached += world.reached
    for what, count in sorted(reached.items()):
        print(f"{count:8} {what}")
    print(f"{name}: {len(seeds) - len(failed)} of {len(seeds)} seeds hold", *(f"not {seed}" for seed in failed), sep=", ")
    return not failed


def _shrink(name: str, seed: int, faults: Sequence[Fault], broken: type[Exception]) -> None:
    """Takes as long as some dozen to some hundred runs."""

    def fails(some: Sequence[Fault]) -> bool:
        try:
            WORLDS[name](seed, some).run()
        except broken:
            return True
        except Exception:  # noqa: BLE001 - another failure is another matter
            return False
        return False

    logging.disable(logging.CRITICAL)
    left = shrunk(faults, fails)
    print(f"{broken.__name__} with {len(left)} of {len(faults)} faults:")
    for fault in left:
        print(f"  {fault}")


if __name__ == "__main__":
    sys.exit(main())
