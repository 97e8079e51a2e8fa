"""How clients ask, and what they make of the answers: operations for the checker of linearizability.

Whatever they are told must be true, at any time: a refusal has a reason that clients give rise to, and damaged or gone is
never the answer, for there always is a quorum.
"""

import random
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from datanode.node import BlobUnavailable
from tests.linearizability.checker import Kind, Operation
from tests.simulation.cluster.clients import History, Refusal, Write
from tests.simulation.invariants import NodesFailAsTheySay, ReadsAreWhole, RefusalsAreTrue
from tests.simulation.whole.contents import Contents
from tests.simulation.whole.gateway import Gateway
from tests.simulation.whole.http import Answer, Asked, NoAnswer, ask

DAMAGED = "The object's data is damaged or not available."  # as `gateway.errors` has it
LATE = "RequestTimeout"  # behind its deadline, or so late that its payload was an orphan


class Place(NamedTuple):
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.bucket}/{self.key}"


class Told(History):
    """All that was asked and told, and the bytes that there may be."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        super().__init__(now_s)
        self.contents = Contents()
        self.refused: set[str] = set()  # values

    def check_refused(self) -> None:
        """Nothing that was refused was ever seen."""
        if shown := self.refused & {each.value for each in self.reads if each.value is not None}:
            raise RefusalsAreTrue(f"values {shown} were refused, and are there")


class Asking:
    def __init__(self, number: int, gateways: list[Gateway], told: Told, rng: random.Random) -> None:
        self._number = number
        self._gateways = gateways
        self._told = told
        self._rng = rng
        self._writing: list[float] = []  # since when, each

    def is_writing(self, since_s: float) -> bool:
        """What was begun before."""
        return any(each <= since_s for each in self._writing)

    def request(self) -> str:
        return f"R{self._told.number()}"

    async def ask(self, kind: str, asked: Asked) -> Answer | None:
        """None where there is no answer, or it leaves open what was done."""
        told, started_s = self._told, self._told.now_s()
        try:
            answer = await ask(self._rng.choice(self._gateways), asked, told.now_s(), self._rng)
        except NoAnswer as error:
            told.reached[f"{kind}: no answer"] += 1
            if isinstance(error.__cause__, BlobUnavailable):
                raise ReadsAreWhole(f"{asked} broke off: {error.__cause__}") from error
            if asked.leaves_after is None:
                told.unanswered.append(f"{asked}: {error}")
            return None
        told.reached[f"{kind}: {answer.code or answer.status}"] += 1
        if not asked.takes_s:
            told.longest_s = max(told.longest_s, told.now_s() - started_s)
        if answer.status < 500:
            return answer
        if answer.code == "InternalError":
            message = answer.document().findtext("Message", "")
            raise (ReadsAreWhole if message == DAMAGED else NodesFailAsTheySay)(f"{asked} was answered {message}")
        told.unanswered.append(f"{asked}: {answer.code}")
        return None

    async def write(
        self, kind: Kind, place: Place, value: str | None, asked: Asked, source: Place | None = None
    ) -> Answer | None:
        """What it was answered, if it was done. `source`: of a copy, which is missing where a key is."""
        started = self._told.now_s()
        answer = await self.ask(f"{asked.method} {kind}", asked)
        if answer is None:
            self.wrote(kind, place, value, asked.id, started, None)
            return None
        if not answer.code:
            self.wrote(kind, place, value, asked.id, started, self._told.now_s())
            return answer
        self.explain(asked, answer.code, ["PreconditionFailed", "NoSuchKey", LATE])
        if value is not None:
            self._told.refused.add(value)
        if answer.code == "NoSuchKey":
            self.saw(source or place, None, started)
        elif answer.code == "PreconditionFailed":
            self._told.refusals.append(Refusal(asked.id, answer.code, f"{place}", started, self._told.now_s()))
        return None

    def explain(self, asked: Asked, code: str, explained: Collection[str]) -> None:
        if code not in explained:
            raise RefusalsAreTrue(f"{asked} was refused with {code or 'nothing'}")

    def wrote(self, kind: Kind, place: Place, value: str | None, request: str, started: float, ended: float | None) -> None:
        operation = Operation(self._number, f"{place}", kind, value, started, ended)
        self._told.writes.append(Write(request, place.bucket, operation))

    def saw(self, place: Place, value: str | None, started: float) -> None:
        if value in self._told.refused:
            raise RefusalsAreTrue(f"value {value} of {place} was refused, and is there")
        self._told.reads.append(Operation(self._number, f"{place}", "read", value, started, self._told.now_s()))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A payload, and what names it."""
        since_s = self._told.now_s()
        self._writing.append(since_s)
        try:
            yield
        finally:
            self._writing.remove(since_s)
