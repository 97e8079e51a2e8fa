"""Reads all files of the embedded log from all its disks, so that damage is found while another copy can still mend it.

Rules: one file after the other, in the order of their paths, at a bounded rate; a pass starts each period, or when the one
before has ended, if that is later. One that was broken off goes on where it was, behind a restart too. Archived events are
the system of record: nobody else reads those of years ago.
"""

import asyncio
import logging

from topics.embedded import EmbeddedLog
from topics.log import LogCorrupt

BYTES_PER_S = 20 << 20  # of one copy
STORED_EVERY = 25  # files: each 5 s or so
log_ = logging.getLogger(__name__)


class LogScrub:
    def __init__(self, log: EmbeddedLog, *, bytes_per_s: float = BYTES_PER_S) -> None:
        self.verified = 0  # files, of all passes
        self.damaged: dict[str, str] = {}  # files of which no copy is whole, and what is wrong
        self._log = log
        self._bytes_per_s = bytes_per_s

    async def run(self, period_s: float) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            next_s = loop.time() + period_s
            try:
                await self.scrub()
            except OSError as error:
                log_.error("the scrub of the log was broken off, it goes on in the next period: %s", error)
            await asyncio.sleep(max(0.0, next_s - loop.time()))

    async def scrub(self) -> None:
        """The rest of one pass."""
        after = await self._log.scrubbed()
        for place, path in enumerate([path for path in self._log.files() if path > after], 1):
            size = await self._check(path)
            if place % STORED_EVERY == 0:
                await self._log.put_scrubbed(path)
            await asyncio.sleep(size / self._bytes_per_s)
        await self._log.put_scrubbed("")

    async def _check(self, path: str) -> int:
        try:
            size = await self._log.check(path)
        except (LogCorrupt, OSError) as error:
            self.damaged[path] = str(error)
            log_.critical(
                "%s has no whole copy: %s; its records cannot be read, and no view can be made anew: restore the file, "
                "while bucketlog is stopped, into each data folder with a log",
                *(path, error),
            )
            return 0
        self.damaged.pop(path, None)
        self.verified += 1
        return size
