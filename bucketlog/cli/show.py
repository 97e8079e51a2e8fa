"""The state of a cluster as tables for a person."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from bucketlog.status import AuditStatus, Condition, NodeStatus, PartitionStatus, Status

BAR = 20  # columns
SILENT_S = 5.0  # heartbeats come each second
_STATES = {"up": "green", "down": "red", "out": "red"}
_CONDITIONS = {
    Condition.WHOLE: ("whole", "green"),
    Condition.COPYING: ("copying", "cyan"),
    Condition.UNDER_REPLICATED: ("under-replicated", "yellow"),
    Condition.WITHOUT_HOLDER: ("without a holder", "red"),
}


def status(found: Status) -> RenderableType:
    paused = (
        [Text("paused: no data node goes out by itself (bucketlog cluster resume)", "yellow")] if found.is_paused else []
    )
    warnings = [Text(f"{node.name}: {why}", "red") for node in found.nodes for why in node.warnings]
    audit = [_audit(found.audit)] if found.audit else []
    return Group(*paused, _nodes(found.nodes), *warnings, _groups(found), _partitions(found.partitions), *audit)


def _nodes(nodes: Sequence[NodeStatus]) -> Table:
    """Two lines each, so that they fit into 80 columns."""
    table = _table("Data nodes", Column("node", overflow="fold"), "state", Column("used", no_wrap=True), "groups held")
    for node in nodes:
        share = "?" if node.used_bytes is None else decimal(node.used_bytes)
        place = node.endpoint if node.domain == node.name else f"{node.domain}, {node.endpoint}"
        leaving = f", {node.groups_leaving} leaving" if node.groups_leaving else ""
        behind = f", lacks {node.blobs_behind} blobs" if node.blobs_behind else ""
        held = Text(f"{node.groups_held} of {node.groups_wanted}{leaving}{behind}")
        table.add_row(
            Text.assemble(node.name, "\n", (place, "dim")),
            Text.assemble(_state(node), "\n", _heard(node.heard_ago_s)),
            f"{share}\nof {decimal(node.capacity_bytes)}",
            Group(held, _bar(node.groups_held, node.groups_wanted)),
        )
    return table


def _state(node: NodeStatus) -> Text:
    words = [node.state, *(["draining"] if node.is_draining else []), *(["full"] if node.is_full else [])]
    is_plain = len(words) == 1 or node.state != "up"
    return Text(", ".join(words), _STATES.get(node.state, "") if is_plain else "yellow")


def _heard(ago_s: float | None) -> Text:
    if ago_s is None:
        return Text("not heard yet", "yellow")
    return Text("heard now", "dim") if ago_s < SILENT_S else Text(f"heard {ago_s:.0f} s ago", "red")


def _groups(found: Status) -> Table:
    total = sum(map(len, found.groups.values()))
    table = _table(f"{total} groups, {found.copies} copies, map {found.epoch}", "", "", "")
    table.show_header = False
    for condition, (words, style) in _CONDITIONS.items():
        count = len(found.groups.get(condition, ()))
        table.add_row(Text(words, style if count else ""), str(count), _bar(count, total))
    return table


def _partitions(partitions: Sequence[PartitionStatus]) -> Table:
    """Those of one owner on a line."""
    table = _table("Partitions", "owner", "", "commands waiting")
    for owner in sorted({each.owner for each in partitions}):
        own = [each for each in partitions if each.owner == owner]
        numbers = ", ".join(str(each.number) for each in own)
        waiting = "?" if any(each.lag is None for each in own) else str(sum(each.lag or 0 for each in own))
        table.add_row(Text(owner or "nobody", "" if owner else "red"), numbers, waiting)
    return table


def _audit(found: AuditStatus) -> Text:
    lost = Text(f"; {found.lost} blobs are lost", "red") if found.lost else Text()
    if not found.ended_ms:
        return Text.assemble("Audit: the first pass has not ended yet", lost)
    ended = datetime.fromtimestamp(found.ended_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
    counts = f"{found.blobs} blobs, {found.missing} were missing at a holder and are fetched anew"
    return Text.assemble(f"Audit: last ended {ended} UTC, {counts}", lost)


def _table(title: str, *columns: Column | str) -> Table:
    return Table(*columns, title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=done, width=BAR)
