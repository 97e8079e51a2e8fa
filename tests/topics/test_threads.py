"""Threads of a disk that hangs: they hold nobody else's, and no process."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from topics.disk import CALL_THREADS, OsDisk
from topics.threads import Threads

MORE = CALL_THREADS + 40  # than any pool of threads that is shared has
ENDS = """
import asyncio, threading
from topics import threads

async def main():
    threads.END_S = 0.1
    pool = threads.Threads(2, "hangs")
    running = asyncio.get_running_loop().run_in_executor(pool, threading.Event().wait)
    await asyncio.sleep(0.1)
    running.cancel()
    pool.shutdown(cancel_futures=True)

asyncio.run(main())
"""


def test_a_process_ends_though_a_thread_never_does() -> None:
    assert subprocess.run([sys.executable, "-c", ENDS], timeout=10, check=False).returncode == 0


def test_calls_of_a_disk_that_hangs_hold_neither_its_syncs_nor_another_disk(tmp_path: Path) -> None:
    async def case() -> None:
        bad, good, stuck = OsDisk(tmp_path / "bad"), OsDisk(tmp_path / "good"), threading.Event()
        file = bad.open("file")
        running = [asyncio.create_task(bad.run(stuck.wait)) for _ in range(MORE)]
        async with asyncio.timeout(10):
            for number in range(MORE):
                assert await good.run(lambda number=number: number) == number  # type: ignore[misc]
            await file.write_synced(b"x", 0)
        assert not any(task.done() for task in running)
        stuck.set()
        assert await asyncio.gather(*running) == [True] * MORE
        file.close()
        bad.close()
        good.close()

    asyncio.run(case())


def test_at_most_so_many_run_and_what_waits_is_cancelled_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topics.threads.END_S", 0.05)
    pool, stuck, begun = Threads(3, "some"), threading.Event(), threading.Semaphore(0)

    def work() -> None:
        begun.release()
        stuck.wait()

    futures = [pool.submit(work) for _ in range(7)]
    for _ in range(3):
        assert begun.acquire(timeout=10)
    pool.shutdown(cancel_futures=True)
    assert [future.cancelled() for future in futures] == [False] * 3 + [True] * 4
    stuck.set()
    assert [future.result(10) for future in futures[:3]] == [None] * 3
    assert not begun.acquire(blocking=False)
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(work)


def test_an_end_waits_for_what_runs() -> None:
    pool, done = Threads(1, "one"), list[int]()
    begun = threading.Event()

    def work() -> None:
        begun.set()
        threading.Event().wait(0.1)
        done.append(1)

    pool.submit(work)
    assert begun.wait(10)
    pool.shutdown()
    assert done == [1]


def test_what_fails_is_handed_on_and_ends_no_thread() -> None:
    pool = Threads(1, "one")
    for number in range(3):
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 // 0).result(10)
        assert pool.submit(lambda number=number: number).result(10) == number
    pool.shutdown()
