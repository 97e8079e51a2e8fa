"""How the Faust app is kept alive, over an app that fails as Faust does."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from processors import faust_life
from processors.faust_app import JudgeApp
from processors.faust_life import UNREAD_TICKS, FaustLife


class FakeApp:
    """What `FaustLife` sees of an app. `hangs` names the method that never returns."""

    def __init__(self, fails: Exception | None = None, hangs: str = "", unread_ticks: int = 0) -> None:
        self.unread_ticks = unread_ticks
        self.crashed = False
        self.crash_reason: Exception | None = None
        self._fails = fails
        self._hangs = hangs
        self.stopped = asyncio.Event()
        self.is_cut_off = False

    async def start(self) -> None:
        if self._hangs == "start":
            await asyncio.Event().wait()
        if self._fails:
            raise self._fails

    async def stop(self) -> None:
        self.stopped.set()
        if self._hangs == "stop":
            await asyncio.Event().wait()

    def cut_off(self) -> None:
        self.is_cut_off = True

    def crash(self, why: Exception) -> None:
        self.crashed, self.crash_reason = True, why


class Apps:
    """Gives these, then healthy ones, and tells when each is made."""

    def __init__(self, *apps: FakeApp) -> None:
        self.given = list(apps)
        self.made: asyncio.Queue[FakeApp] = asyncio.Queue()

    def __call__(self) -> JudgeApp:
        app = self.given.pop(0) if self.given else FakeApp()
        self.made.put_nowait(app)
        return cast(JudgeApp, app)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVERY_S", "AGAIN_S", "STOP_S", "GIVE_UP_S"):
        monkeypatch.setattr(faust_life, name, 0.01)


def run(case: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(5):
            await case()

    asyncio.run(bounded())


@pytest.mark.parametrize(
    "first",
    [FakeApp(fails=OSError("no broker")), FakeApp(unread_ticks=UNREAD_TICKS + 1)],
    ids=["cannot start", "does not read"],
)
def test_an_app_that_fails_is_ended_and_followed_by_another(first: FakeApp) -> None:
    async def case() -> None:
        apps = Apps(first)
        life = FaustLife(apps, lambda: True)
        running = asyncio.create_task(life.run())
        assert await apps.made.get() is first
        second = await apps.made.get()
        assert first.stopped.is_set()
        assert not second.stopped.is_set()
        await life.stop()
        await running
        assert second.stopped.is_set()

    run(case)


def test_a_crash_is_told_and_followed_by_another_app(caplog: pytest.LogCaptureFixture) -> None:
    async def case() -> None:
        apps = Apps()
        life = FaustLife(apps, lambda: True)
        running = asyncio.create_task(life.run())
        (await apps.made.get()).crash(RuntimeError("in the agent"))
        await apps.made.get()
        await life.stop()
        await running

    run(case)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "in the agent" in caplog.text


@pytest.mark.parametrize("hangs", ["start", "stop"])
def test_an_app_that_hangs_does_not_delay_the_stop(hangs: str) -> None:
    async def case() -> None:
        apps = Apps(FakeApp(hangs=hangs))
        life = FaustLife(apps, lambda: True)
        running = asyncio.create_task(life.run())
        app = await apps.made.get()
        await life.stop()
        await running
        assert app.is_cut_off is (hangs == "stop")


def test_an_app_that_cannot_be_stopped_is_cut_off_and_followed_by_another() -> None:
    async def case() -> None:
        first = FakeApp(hangs="stop", fails=OSError("no broker"))
        apps = Apps(first)
        life = FaustLife(apps, lambda: True)
        running = asyncio.create_task(life.run())
        assert await apps.made.get() is first
        await apps.made.get()
        assert first.is_cut_off
        await life.stop()
        await running

    run(case)


def test_there_is_an_app_only_while_the_control_partition_is_followed() -> None:
    async def case() -> None:
        apps, followed = Apps(), [False]
        life = FaustLife(apps, lambda: followed[0])
        running = asyncio.create_task(life.run())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(apps.made.get(), 0.1)
        followed[0] = True
        app = await apps.made.get()
        followed[0] = False
        await app.stopped.wait()
        await life.stop()
        await running

    run(case)
