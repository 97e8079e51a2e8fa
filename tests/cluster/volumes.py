"""What data nodes hold: as they tell while they run, and on their disks once they were stopped."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from datanode.index import BlobIndex
from datanode.node import DataNode
from datanode.remote import RemoteNodes
from datanode.store import VolumeStore
from tests.cluster.metadata import Blobs
from topics.disk import OsDisk
from topics.placement import Placement
from topics.rocksdb import RocksMap
from topics.secret import ClusterSecret

READ_BYTES = 8 << 20


class Found(NamedTuple):
    """Of one node: the blobs of each group, and those that are damaged."""

    groups: Blobs
    damaged: set[bytes]


def look(folder: Path) -> Found:
    """Reads and verifies everything."""
    disk = OsDisk(folder)
    store = VolumeStore(disk, BlobIndex(RocksMap(folder / "index")))
    try:
        return asyncio.run(_look(store))
    finally:
        store.close()
        disk.close()


async def _look(store: VolumeStore) -> Found:
    groups: Blobs = {}
    damaged = set()
    for group in store.groups():
        after = b""
        while page := store.blobs(group, after):
            for held in page:
                groups.setdefault(group, set()).add(held.blob)
                try:
                    for start in range(0, held.length, READ_BYTES):
                        await store.read(group, held.blob, start, min(READ_BYTES, held.length - start))
                except Exception:  # noqa: BLE001 - whatever it is, the blob is not whole
                    damaged.add(held.blob)
            after = page[-1].blob
    return Found(groups, damaged)


async def told(placement: Placement, secret: ClusterSecret) -> dict[str, Found]:
    """What each node tells of the groups that it is to have. Raises `OSError`, `BlobUnavailable`."""
    async with RemoteNodes(secret) as nodes:
        asked = [(name, group) for group, each in enumerate(placement.groups) for name in each.targets]
        answers = await asyncio.gather(*(_blobs(nodes(placement.nodes[name].endpoint), group) for name, group in asked))
    found: dict[str, Found] = {name: Found({}, set()) for name in placement.nodes}
    for (name, group), blobs in zip(asked, answers, strict=True):
        found[name].groups[group] = blobs
    return found


async def _blobs(node: DataNode, group: int) -> set[bytes]:
    found: set[bytes] = set()
    after = b""
    while page := await node.blobs(group, after, -1):
        found.update(held.blob for held in page)
        after = page[-1].blob
    return found


def differences(found: Mapping[str, Found], targets: Iterable[list[str]], referred: Blobs) -> list[str]:
    """What is not as it must be: each target of a group has what the metadata refer to, nobody has anything else."""
    wrong = []
    for group, names in enumerate(targets):
        for name in names:
            held, wanted = found[name].groups.get(group, set()), referred[group]
            if held != wanted:
                wrong.append(
                    f"group {group}: {name} lacks {len(wanted - held)} of {len(wanted)}, has {len(held - wanted)} more"
                )
        others = [name for name, each in found.items() if name not in names and each.groups.get(group)]
        wrong += [f"group {group}: {name} still has blobs" for name in others]
    wrong += [f"{name}: {len(each.damaged)} blobs are damaged" for name, each in found.items() if each.damaged]
    return wrong
