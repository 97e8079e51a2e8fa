"""Whether this node's disk can be relied on: what the node tells in its heartbeats, for the map to go by.

Rules: every few seconds a block is written and synced. A disk that takes none for a while, or on which a sync does not end,
fails; so does one on which the volumes cannot be settled. One that is full does not fail, and neither does one that cannot
be read in some places: that is damage of records. A verdict ends with what went well.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from datanode.space import is_full
from topics.disk import Disk, File

PROBE = "probe"  # the file
PROBE_BYTES = 4096
PROBE_EVERY_S = 5.0
FAILING_S = 15.0  # of errors, and nothing that went well
HUNG_S = 30.0  # for a synced write; a busy hard disk may need some seconds
log_ = logging.getLogger(__name__)


class Verdict:
    def __init__(self, disk: Disk, hung: Callable[[], str]) -> None:
        """`hung`: which sync does not end, if one does not."""
        self._disk = disk
        self._hung = hung
        self._failing: dict[str, tuple[float, OSError]] = {}  # what was tried → since when it fails, and how
        self._probing_since_s: float | None = None

    @property
    def failure(self) -> str:
        """Why the disk cannot be relied on; empty while it can."""
        now_s = asyncio.get_running_loop().time()
        for what, (since_s, error) in self._failing.items():
            if now_s - since_s >= FAILING_S:
                return f"{what} fails: {error.strerror or error}"
        if self._probing_since_s is not None and now_s - self._probing_since_s >= HUNG_S:
            return f"a write to it has not ended for {HUNG_S:g} s"
        return self._hung()

    def went_well(self, what: str) -> None:
        self._failing.pop(what, None)

    def failed(self, what: str, error: OSError) -> None:
        if not is_full(error):
            since_s, _ = self._failing.get(what, (asyncio.get_running_loop().time(), error))
            self._failing[what] = since_s, error

    async def run(self) -> None:
        """Probe for ever."""
        file: File | None = None
        told = ""
        while True:
            file = await self._probe(file)
            if (failure := self.failure) != told:
                told = failure
                if failure:
                    log_.critical("the disk fails: %s; the node is to be out of the map, replace the disk", failure)
                else:
                    log_.warning("the disk works again")
            await asyncio.sleep(PROBE_EVERY_S)

    async def _probe(self, file: File | None) -> File | None:
        """The open file, for the next time."""
        self._probing_since_s = asyncio.get_running_loop().time()
        try:
            if file is None:
                file = await self._disk.run(partial(self._disk.open, PROBE))
            await file.write_synced(bytes(PROBE_BYTES), 0)
        except OSError as error:
            self.failed("writing", error)
        else:
            self.went_well("writing")
        finally:
            self._probing_since_s = None
        return file
