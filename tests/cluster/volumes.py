"""What lies on the disks of data nodes that were stopped, against what the metadata refers to."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from datanode.index import BlobIndex
from datanode.store import VolumeStore
from topics.disk import OsDisk
from topics.rocksdb import RocksMap

READ_BYTES = 8 << 20


class Found(NamedTuple):
    """Of one node: the blobs of each group, and those that are damaged."""

    groups: dict[int, set[bytes]]
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
    groups: dict[int, set[bytes]] = {}
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


def differences(found: dict[str, Found], targets: Iterable[list[str]]) -> list[str]:
    """What is not as it must be: each target of a group has the same blobs, nobody else has any of them."""
    wrong = []
    for group, names in enumerate(targets):
        sets = {name: found[name].groups.get(group, set()) for name in names}
        most = set().union(*sets.values()) if sets else set()
        wrong += [
            f"group {group}: {name} lacks {len(most - each)} of {len(most)}" for name, each in sets.items() if most != each
        ]
        others = [name for name, each in found.items() if name not in names and each.groups.get(group)]
        wrong += [f"group {group}: {name} still has blobs" for name in others]
    wrong += [f"{name}: {len(each.damaged)} blobs are damaged" for name, each in found.items() if each.damaged]
    return wrong
