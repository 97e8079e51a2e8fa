"""The worlds by name, and the planted bugs of each."""

from collections.abc import Sequence
from typing import Protocol

from tests.simulation.cluster import bugs as cluster_bugs
from tests.simulation.cluster.world import ClusterWorld
from tests.simulation.data import bugs as data_bugs
from tests.simulation.data.world import DataWorld
from tests.simulation.plan import Fault
from tests.simulation.plants import Plant
from tests.simulation.store import bugs as store_bugs
from tests.simulation.store.world import World
from tests.simulation.whole import bugs as whole_bugs
from tests.simulation.whole.world import WholeWorld


class Makes(Protocol):
    def __call__(self, seed: int, faults: Sequence[Fault] | None = None) -> World | ClusterWorld | DataWorld | WholeWorld:
        """`faults`: others than those that the seed gives."""
        ...


WORLDS: dict[str, Makes] = {"store": World, "cluster": ClusterWorld, "data": DataWorld, "whole": WholeWorld}
PLANTS: dict[str, list[Plant]] = {
    "store": store_bugs.PLANTS,
    "cluster": cluster_bugs.PLANTS,
    "data": data_bugs.PLANTS,
    "whole": whole_bugs.PLANTS,
}
