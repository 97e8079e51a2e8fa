"""What `bucketlog status` and `bucketlog node` do: ask a store or a gateway, and show what it answers."""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec
from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bucketlog import nodes, status
from bucketlog.admin_client import AdminClient, Refused
from bucketlog.cli import show
from bucketlog.cli.options import fail
from bucketlog.status import NodeStatus, Status

LOOK_S = 1.0
PATIENCE_S = 60.0  # with a gateway that does not answer while a drain is watched: it may be restarted
T = TypeVar("T")


def print_json(asked: AdminClient) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(_or_fail(lambda: _status(asked)))).decode() + "\n")


def print_tables(asked: AdminClient) -> None:
    Console().print(show.status(_or_fail(lambda: _status(asked))))


def watch(asked: AdminClient) -> None:
    """Until Ctrl-C."""
    try:
        with Live(show.status(_or_fail(lambda: _status(asked))), auto_refresh=False) as live:
            while True:
                time.sleep(LOOK_S)
                live.update(show.status(_patiently(lambda: _status(asked))), refresh=True)
    except KeyboardInterrupt:
        pass


def drain(asked: AdminClient, name: str, *, wait: bool) -> None:
    before = _or_fail(lambda: _status(asked))
    act(asked, name, "drain")
    others = [each for each in before.nodes if each.name != name and each.state == "up" and not each.is_draining]
    if len(others) < before.copies:
        print(f"bucketlog: {len(others)} data nodes are left for {before.copies} copies", file=sys.stderr)
    if wait:
        _wait_until_empty(asked, name)


def act_on_cluster(asked: AdminClient, action: str) -> None:
    _or_fail(lambda: asked.ask("POST", nodes.CLUSTER_PATH.format(action=action)))


def act(asked: AdminClient, name: str, action: str) -> None:
    _or_fail(lambda: asked.ask("POST", nodes.path(name, action)))


def _status(asked: AdminClient) -> Status:
    return msgspec.convert(asked.ask("GET", status.PATH), Status)


def _wait_until_empty(asked: AdminClient, name: str) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("groups"))
    left = total = _left(asked, name)
    try:
        with Progress(*columns) as progress:
            task = progress.add_task(f"draining {name}", total=total)
            while left:
                time.sleep(LOOK_S)
                left = _left(asked, name)
                total = max(total, left)
                progress.update(task, total=total, completed=total - left)
    except KeyboardInterrupt:
        fail(f"{name} goes on draining; see `bucketlog status`, and `bucketlog node stay {name}`")


def _left(asked: AdminClient, name: str) -> int:
    """The groups that a node still has, or is to have as long as the drain does not show."""
    found = next((each for each in _patiently(lambda: _status(asked)).nodes if each.name == name), None)
    return 0 if found is None else _members(found)


def _members(node: NodeStatus) -> int:
    return node.groups_wanted + node.groups_leaving


def _patiently(work: Callable[[], T]) -> T:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return work()
        except OSError:
            if time.monotonic() > deadline:
                return _or_fail(work)
            time.sleep(LOOK_S)
        except Refused as error:
            fail(str(error))


def _or_fail(work: Callable[[], T]) -> T:
    try:
        return work()
    except (Refused, OSError) as error:
        fail(str(error))
