"""A read that is asked of one node, and of the next as well if the first takes long: the first good answer counts (Dean and
Barroso, The Tail at Scale, 2013: hedged requests).
"""

import asyncio
import itertools
from collections.abc import Iterator, Sequence

from datanode.node import BlobRef, BlobUnavailable, NoNode
from datanode.routing import Routes

HEDGE_S = 0.15  # far above what a node that is well needs
READ_S = 10.0


async def first_answer(routes: Routes, names: Sequence[str], ref: BlobRef, start: int, size: int, position: int) -> bytes:
    """Raises `BlobUnavailable` where every node said that it has none, `NoNode` where some could not be asked."""
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
        self._names: Iterator[str] = iter(names)
        self._asked = (ref, start, size, position)
        self._under_way: dict[asyncio.Task[bytes], str] = {}
        self._failures: list[Exception] = []

    async def first(self) -> bytes:
        self._ask_next()
        while self._under_way:
            done, _ = await asyncio.wait(self._under_way, timeout=HEDGE_S, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (answer := self._answer(task)) is not None:
                    return answer
            self._ask_next()
        if all(isinstance(each, BlobUnavailable) for each in self._failures):
            raise self._failures[-1]
        raise NoNode(f"no data node gave blob {self._asked[0].blob.hex()}: {self._failures[-1]}")

    def end(self) -> None:
        for task in self._under_way:
            if not task.cancel() and not task.cancelled():
                task.exception()  # it answered as well: nobody asks for that any more

    def _ask_next(self) -> None:
        if (name := next(self._names, None)) is not None:
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
