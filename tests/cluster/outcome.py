"""What clients saw of a fault, and what must hold after it."""

import asyncio
import os
import time
from collections import Counter

from datanode.node import BlobUnavailable
from tests.cluster.metadata import Blobs, referred
from tests.cluster.state import log_of, read_state, secret_of
from tests.cluster.volumes import differences, look, told
from tests.kafka.cluster import Cluster
from tests.load.checks import check, check_stream
from tests.load.clients import Client

CLIENTS, PAUSE_S = 8, 0.05  # leaves time for all roles and the broker on a machine of two cores
OUTAGE_S = float(os.environ.get("BUCKETLOG_TEST_OUTAGE_S", "2"))
IS_BUSY = OUTAGE_S > 2  # the machine does other things, too
FAILOVER_S = 25.0 if IS_BUSY else 15.0  # until another processor owns what one had that died, or brokers have new leaders
ANSWERED = 0.99
WHOLE_S = 120.0
TIMES = {
    "BUCKETLOG_RELEASE_AFTER_S": "2",
    "BUCKETLOG_ORPHAN_AFTER_S": "8",
    "BUCKETLOG_SWEEP_PACE_S": "0.2",
    "BUCKETLOG_SWEEP_EVERY_S": "1",
}
LOOK_S = 0.5


def report(clients: list[Client], what: str, answered: float = ANSWERED) -> float:
    """The longest outage; fails where too few were answered."""
    asked = sum((each.asked for each in clients), Counter[str]())
    failed = sum((each.failed for each in clients), Counter[str]())
    outage_s = max(each.longest_outage_s for each in clients)
    shares = {kind: 1 - failed[kind] / count for kind, count in asked.items()}
    print(f"{what}: {asked.total()} requests, answered {shares}, longest outage {outage_s:.1f} s")
    print([error for each in clients for error in each.errors][:5])
    assert min(shares["put"], shares["read"]) >= answered
    return outage_s


def check_all(cluster: Cluster, clients: list[Client]) -> None:
    """Nothing acknowledged is lost, all copies are there and equal, and nothing else is."""
    check(cluster, clients)
    check_stream(cluster, clients[0].bucket)
    check_copies(cluster)


def check_copies(cluster: Cluster) -> None:
    """Each target of a group has what the metadata refer to, and nobody anything else. Nobody may write meanwhile."""
    started = time.monotonic()
    targets, wanted = asyncio.run(_settled(cluster))
    print(f"copies are as they must be after {time.monotonic() - started:.1f} s")
    for node in cluster.datanodes:
        assert node.stop() == 0
    found = {node.data.name: look(node.data) for node in cluster.datanodes}
    assert differences(found, targets, wanted) == []
    for node in cluster.datanodes:
        node.start()
    for node in cluster.datanodes:
        node.wait()


async def _settled(cluster: Cluster) -> tuple[list[list[str]], Blobs]:
    """The targets of each group and the blobs that they are to have, once they tell that they have these and no others."""
    deadline = time.monotonic() + WHOLE_S
    async with log_of(cluster) as log:
        wanted = await referred(log)
        while True:
            now = await read_state(log, secret_of(cluster))
            targets = [group.targets for group in now.placement.groups]
            try:
                wrong = now.trouble() or differences(await told(now.placement, secret_of(cluster)), targets, wanted)
            except (BlobUnavailable, OSError) as error:
                wrong = [str(error)]
            if not wrong:
                return targets, wanted
            assert time.monotonic() < deadline, wrong[:10]
            await asyncio.sleep(LOOK_S)
