"""How a process of a simulation ends."""

import asyncio
import random

import pytest

from tests.simulation.loop import Crash, SimulatedLoop


def test_who_waits_on_its_way_out_is_cancelled_and_sees_no_error() -> None:
    seen: list[BaseException] = []

    async def works() -> None:
        try:
            await asyncio.sleep(1)
        finally:
            await asyncio.sleep(1)

    async def works_again_whatever_befalls_it() -> None:
        while True:
            try:
                await works()
            except Exception as error:  # noqa: BLE001 - none is expected
                seen.append(error)
            await asyncio.sleep(1)

    loop = SimulatedLoop(random.Random(0), 0.0)
    loop.steps_left = 20
    with pytest.raises(Crash):
        loop.run_until_complete(works_again_whatever_befalls_it())
    loop.end()
    assert seen == []


def test_who_never_ends_is_told() -> None:
    async def stays() -> None:
        while True:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                continue

    loop = SimulatedLoop(random.Random(0), 0.0)
    loop.steps_left = 20
    with pytest.raises(Crash):
        loop.run_until_complete(stays())
    with pytest.raises(AssertionError, match="does not end"):
        loop.end()
    loop.close()
