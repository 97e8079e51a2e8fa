"""What does not wait for clients: so many at once, the most urgent next, and no faster than allowed."""

import asyncio

from datanode.turns import Rate, Turns
from tests.virtual import run


def test_no_more_than_so_many_have_a_turn() -> None:
    async def case() -> None:
        turns, running, most = Turns(3), 0, 0

        async def work() -> None:
            nonlocal running, most
            async with turns.turn():
                running += 1
                most = max(most, running)
                await asyncio.sleep(1)
                running -= 1

        await asyncio.gather(*(work() for _ in range(10)))
        assert (running, most) == (0, 3)

    run(case())


def test_the_most_urgent_is_next_as_it_is_then_and_of_these_who_waited_longest() -> None:
    async def case() -> None:
        turns, done, urgency = Turns(1), list[str](), {"a": 2, "b": 1, "c": 1, "d": 0}

        async def work(name: str) -> None:
            async with turns.turn(lambda: urgency[name]):
                done.append(name)
                await asyncio.sleep(1)

        async with turns.turn():
            working = []
            for name in "abcd":
                working.append(asyncio.create_task(work(name)))
                await asyncio.sleep(1)
            urgency["d"] = 3
        await asyncio.gather(*working)
        assert "".join(done) == "bcad"

    run(case())


def test_who_gives_up_leaves_the_turn_to_others() -> None:
    async def case() -> None:
        turns = Turns(1)

        async def work() -> None:
            async with turns.turn():
                await asyncio.sleep(1)

        working = [asyncio.create_task(work()) for _ in range(4)]
        await asyncio.sleep(0.5)
        working[1].cancel()  # while it waits
        await asyncio.sleep(0.5)
        working[2].cancel()  # in the moment in which it is given its turn, or just after
        await asyncio.gather(*working, return_exceptions=True)
        async with asyncio.timeout(1), turns.turn():
            pass

    for seed in range(20):
        run(case(), seed)


def test_a_rate_says_when_it_could_give_only_much_later() -> None:
    async def case() -> None:
        rate = Rate(100.0)
        taking = [asyncio.create_task(rate.take(100)) for _ in range(6)]
        await asyncio.sleep(0)
        assert not rate.is_busy
        taking.append(asyncio.create_task(rate.take(100)))
        await asyncio.sleep(0)
        assert rate.is_busy
        await asyncio.gather(*taking)
        assert not rate.is_busy

    run(case())
