"""`python -m benchmarks.refill [--blobs N] [--bytes N] [--before COMMIT]`: how fast a wiped node has its small blobs again.

Two data nodes, each a process with its own interpreter, on files and by HTTP on loopback; the log and the map are stand-ins
in memory. What is measured is from the first moment of the wiped node until the map shows it as a holder of all groups.
With `--before` the same is measured with the code of that commit as well, and the ratio told.
"""

import argparse
import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn

from datanode.api import create_node_app
from datanode.index import BlobIndex
from datanode.member import Identity
from datanode.placement import PlacementMap
from datanode.remote import RemoteNodes
from datanode.service import NodeService
from datanode.store import NewBlob, VolumeStore
from topics import commands, spec
from topics.disk import OsDisk
from topics.memory import MemoryLog
from topics.placement import Group, Node, Placement
from topics.rocksdb import RocksMap
from topics.secret import ClusterSecret

SECRET = ClusterSecret(b"the secret of a benchmark")
SOURCE, WIPED = "source", "wiped"
TARGET_PER_S = 10_000
HERE = Path(__file__)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def served(name: str, folder: Path, known: PlacementMap, submit: object, port: int) -> AsyncIterator[NodeService]:
    folder.mkdir(parents=True, exist_ok=True)
    log = MemoryLog("bench", now_ms)
    await log.create_topics(spec.CLUSTER)
    store = VolumeStore(OsDisk(folder), BlobIndex(RocksMap(folder / "index")))
    async with RemoteNodes(SECRET) as nodes:
        service = NodeService(Identity(name, name, name), log, store, known, nodes, submit, now_ms)  # type: ignore[arg-type]
        app = create_node_app(service.node, SECRET)
        server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_level="critical"))
        tasks = [asyncio.create_task(server.serve()), asyncio.create_task(service.run())]
        try:
            yield service
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def placement(epoch: int, port: int, held: set[int], *, is_wiped_there: bool = True) -> Placement:
    nodes = {SOURCE: Node(SOURCE, SOURCE, SOURCE, f"http://127.0.0.1:{port}", SOURCE, 1 << 40)}
    if is_wiped_there:
        nodes[WIPED] = Node(WIPED, WIPED, WIPED, f"http://127.0.0.1:{port + 1}", WIPED, 1 << 40)
    groups = [Group(list(nodes), [SOURCE, *([WIPED] if number in held else [])]) for number in range(spec.GROUPS)]
    return Placement(epoch, 2, nodes, groups)


async def source(folder: Path, port: int, blobs: int, size: int) -> None:
    """Serves so many blobs until it is killed."""
    known = PlacementMap()

    async def submit(_: commands.Body) -> None: ...

    async with served(SOURCE, folder, known, submit, port) as service:
        for first in range(0, blobs, 1_000):
            group = first // 1_000 % spec.GROUPS
            names = [now_ms().to_bytes(6, "big") + os.urandom(10) for _ in range(min(1_000, blobs - first))]
            putting = service.store.put_all([NewBlob(group, name, 3, os.urandom(size)) for name in names])
            if putting is not None:  # as in earlier commits
                await putting
        await service.store.sync()
        known.update(placement(1, port, set(), is_wiped_there=False))
        print("ready", flush=True)
        await asyncio.Event().wait()


async def refill(folder: Path, port: int) -> float:
    """Seconds."""
    known, held = PlacementMap(), set[int]()
    known.update(placement(1, port, held))

    async def submit(body: commands.Body) -> None:
        if isinstance(body, commands.HoldGroup):
            held.add(body.group)
            known.update(placement(known.current.epoch + 1, port, held))

    started = time.perf_counter()
    async with served(WIPED, folder, known, submit, port + 1):
        while len(held) < spec.GROUPS:
            await known.changed(known.current.epoch)
        return time.perf_counter() - started


def measure(blobs: int, size: int) -> float:
    """Blobs a second."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix="refill-") as folder:
        arguments = ["source", "--folder", f"{folder}/source", "--port", f"{port}", "--blobs", f"{blobs}"]
        command = [sys.executable, str(HERE), *arguments, "--bytes", f"{size}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                return blobs / asyncio.run(refill(Path(folder) / "wiped", port))
            finally:
                process.kill()


def of_commit(commit: str, blobs: int, size: int) -> float:
    """The same by the code of another commit."""
    folder = Path(tempfile.mkdtemp(prefix="refill-before-"))
    git = ["git", "-C", str(HERE.parent)]
    subprocess.run([*git, "worktree", "add", "-q", "--detach", str(folder / "code"), commit], check=True)
    try:
        command = [sys.executable, str(HERE), "measure", "--blobs", f"{blobs}", "--bytes", f"{size}"]
        found = subprocess.run(
            command,
            cwd=folder / "code",
            env=os.environ | {"PYTHONPATH": str(folder / "code")},
            capture_output=True,
            check=True,
        )
        (rate,) = re.findall(r"([\d.]+) blobs/s", found.stdout.decode())
        return float(rate)
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", str(folder / "code")], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="?", choices=["measure", "source"], default="measure")
    parser.add_argument("--blobs", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=1_024)
    parser.add_argument("--before", default="", help="a commit to compare with")
    parser.add_argument("--before-blobs", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path("refill"))
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    if options.what == "source":
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(source(options.folder, options.port, options.blobs, options.bytes))
        return
    rate = measure(options.blobs, options.bytes)
    print(f"{rate:.0f} blobs/s of {options.bytes} bytes, {options.blobs} of them; aimed at {TARGET_PER_S}", flush=True)
    if options.before:
        before = of_commit(options.before, options.before_blobs, options.bytes)
        print(f"{before:.0f} blobs/s at {options.before}: {rate / before:.1f} times as fast")


if __name__ == "__main__":
    main()
