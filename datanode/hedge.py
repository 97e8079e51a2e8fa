"""A read that is asked of one node, and of the next as well if the first takes long: the first good answer counts (Dean and
Barroso, The Tail at Scale, 2013: hedged requests).

Hedges have a budget, a share of all reads: where every node is slow, as under load, asking more of them makes it worse.
Without budget the next is asked when the first is not slow but as good as gone.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Sequence
from functools import partial

from datanode.node import BlobRef, BlobUnavailable, NoNode
from datanode.routing import Routes

HEDGE_S = 0.15  # far above what a node that is well needs
LATE_S = 1.0  # without budget
READ_S = 10.0


async def first_answer(routes: Routes, names: Sequence[str], ref: BlobRef, start: int, size: int, position: int) -> bytes:
    """Raises `BlobUnavailable` where every node said that it has none, `NoNode` where some could not be asked."""
    routes.hedges.earn()
    reading = _Reading(routes, names, ref, start, size, position)
    try:
        async with asyncio.timeout(READ_S):
            return await reading.first()
    except TimeoutError:
        raise NoNode(f"no data node gave blob {ref.blob.hex()} in {READ_S} s") from None
    finally:
        reading.end()


class _Reading:
    def __init__(self, routes: Routes, names: Sequence[str], ref: BlobRef, start: int, size: int, position: int) -> None:
        self._routes = routes
        self._left = deque(names)
        self._asked = (ref, start, size, position)
        self._under_way: dict[asyncio.Task[bytes], str] = {}
        self._failures: list[Exception] = []

    async def first(self) -> bytes:
        self._ask_next()
        while self._under_way:
            for task in await self._some():
                if (answer := self._answer(task)) is not None:
                    return answer
            self._ask_next()
        if all(isinstance(each, BlobUnavailable) for each in self._failures):
            raise self._failures[-1]
        raise NoNode(f"no data node gave blob {self._asked[0].blob.hex()}: {self._failures[-1]}")

    async def _some(self) -> set["asyncio.Task[bytes]"]:
        """Those that have ended; none where it is time to ask another node."""
        wait = partial(asyncio.wait, self._under_way, return_when=asyncio.FIRST_COMPLETED)
        done, _ = await wait(timeout=HEDGE_S if self._left else None)
        if not done and not self._routes.hedges.take():
            done, _ = await wait(timeout=LATE_S - HEDGE_S)
        return done

    def end(self) -> None:
        for task in self._under_way:
            if not task.cancel() and not task.cancelled():
                task.exception()  # it answered as well: nobody asks for that any more

    def _ask_next(self) -> None:
        if self._left:
            name = self._left.popleft()
            self._under_way[asyncio.create_task(self._routes.node(name).read(*self._asked))] = name

    def _answer(self, task: "asyncio.Task[bytes]") -> bytes | None:
        """What a node gave; the nodes that were asked before it and are still silent are slow."""
        earlier = itertools.takewhile(lambda each: each is not task, self._under_way)
        slow = [self._under_way[each] for each in earlier if not each.done()]
        name = self._under_way.pop(task)
        try:
            answer = task.result()
        except (BlobUnavailable, OSError) as error:
            self._failures.append(error)
            if isinstance(error, OSError):
                self._routes.suspect(name)
            return None
        for each in slow:
            self._routes.suspect(each)
        return answer
