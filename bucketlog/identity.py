"""Who a data node is: node.json in its folder, made when the folder is new.

An emptied folder is another node, whatever its name. A folder whose blobs belong to another cluster, or that is of a node
with another name, is refused: its blobs would pass for what they are not.
"""

import contextlib
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bucketlog.folder import FolderRefused
from datanode.member import Identity
from topics.disk import OsDisk

_FILE = "node.json"


class _Kept(msgspec.Struct):
    name: str
    incarnation: str
    cluster: str  # identity of the log


def load(folder: Path, name: str, cluster: str) -> Identity:
    """`name`: as it is set; empty: as the folder has it. Raises `FolderRefused`."""
    disk = OsDisk(folder)
    try:
        stored = disk.load(_FILE)
        if stored is None:
            kept = _Kept(name or uuid.uuid4().hex[:12], uuid.uuid4().hex, cluster)
            disk.store(_FILE, msgspec.json.encode(kept))
        else:
            kept = _decode(folder, stored)
    finally:
        disk.close()
    if kept.cluster != cluster:
        raise FolderRefused(
            f"data folder {folder} belongs to another cluster ({kept.cluster[:40]}…); "
            "start it with that one, or use an empty folder"
        )
    if name and kept.name != name:
        raise FolderRefused(
            f"data folder {folder} is that of node {kept.name}, not {name}; name it so, or use another folder"
        )
    return Identity(kept.name, kept.incarnation, uuid.uuid4().hex)


def check_same_cluster(folders: Sequence[Path]) -> None:
    """Before anything is written to them. Raises `FolderRefused` for folders of two clusters."""
    by_cluster: dict[str, Path] = {}
    for folder in folders:
        with contextlib.suppress(OSError):  # a new one, or its disk fails: whoever opens it tells
            by_cluster.setdefault(_decode(folder, (folder / _FILE).read_bytes()).cluster, folder)
    if len(by_cluster) > 1:
        raise FolderRefused(f"data folders {' and '.join(map(str, by_cluster.values()))} belong to different stores")


def _decode(folder: Path, stored: bytes) -> _Kept:
    try:
        return msgspec.json.decode(stored, type=_Kept)
    except ValueError as error:
        raise FolderRefused(f"{folder / _FILE} cannot be read ({error}); restore it, or use an empty folder") from error
