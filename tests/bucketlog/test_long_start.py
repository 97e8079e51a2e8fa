"""A start that has much to fold answers meanwhile, and ends when it is told to."""

import asyncio
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from bucketlog.clock import now_ms
from tests.server import BUCKETLOG, free_port
from topics import events, spec
from topics.disk import OsDisk
from topics.embedded import EmbeddedLog
from topics.events import Claimed, Decision
from topics.log import Entry
from topics.log_disk import OneDisk
from topics.objects import Attributes
from topics.spec import TopicPartition

EVENTS, AT_ONCE = 300_000, 5_000
ANSWER_S, END_S = 1.0, 3.0


async def fill(folder: Path) -> None:
    """A log whose view is gone."""
    log = await EmbeddedLog.open(OneDisk(OsDisk(folder)), now_ms)
    await log.create_topics(spec.ALL)
    at, claimed = TopicPartition("events", spec.bucket_partition("b")), Claimed("owner", "R")
    bucket = events.BucketCreated("b", "", "", "i")
    bodies: list[events.Event] = [claimed, bucket]
    entries = [Entry(b"", events.encode(Decision(1, n, n - 1, 1, "p", f"r{n}", "", each))) for n, each in enumerate(bodies)]
    private = events.ObjectPrivate([], Attributes())
    for first in range(2, EVENTS, AT_ONCE):
        for n in range(first, first + AT_ONCE):
            body = events.ObjectCreated("b", f"key{n % 10_000}", 0, "", "null", private)
            entries.append(Entry(b"", events.encode(Decision(1, n, n - 1, 1, "p", f"r{n}", "", body))))
        await log.append(at, entries, durable=True)
        entries = []
    await log.close()


def readiness(port: int) -> int | None:
    """The status; None where nobody listens yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=ANSWER_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return None


def test_a_start_with_much_to_fold_answers_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path))
    port = free_port()
    process = subprocess.Popen([BUCKETLOG, "serve", "--data", str(tmp_path), "--port", str(port)])
    try:
        while readiness(port) is None:
            assert process.poll() is None
            time.sleep(0.02)
        for _ in range(5):
            time.sleep(0.1)
            assert readiness(port) == 503  # it folds, and answers in time
        process.send_signal(signal.SIGTERM)
        assert process.wait(END_S) == 0
    finally:
        process.kill()
