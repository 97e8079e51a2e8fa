"""Data nodes as the map has them and as they are heard: each well, except for what a test says."""

from typing import Any

import msgspec

from topics.heartbeats import Heartbeat
from topics.placement import Group, Node, Placement


def node(name: str, **fields: Any) -> Node:
    return msgspec.structs.replace(Node(name, f"folder-{name}", "1", f"http://{name}", name, 100), **fields)


def beat(name: str, time_ms: int, **fields: Any) -> Heartbeat:
    said = Heartbeat(name, f"folder-{name}", "1", f"http://{name}", name, "cluster", time_ms, 100, 5, False, {})
    return msgspec.structs.replace(said, **fields)


def cluster(*nodes: Node, groups: list[Group] | None = None) -> Placement:
    return Placement(1, 3, {each.name: each for each in nodes}, groups or [])
