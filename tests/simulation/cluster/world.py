"""One seeded cluster: processors and gateways on one log, clients on hot keys, faults; then the checks.

Three acts: faults of all kinds at once; all is well again, and the store must be, too; one fault alone, which may cost
time and no answer.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence

from processors.dedup import WINDOW_MS
from processors.reads import Bucket
from tests.simulation.cluster import checks
from tests.simulation.cluster.base import ProcessWorld
from tests.simulation.cluster.broker import VERY_LATE_S, Connection, SimulatedLog, Weather
from tests.simulation.cluster.clients import KEYS, REFUSALS, Client, History
from tests.simulation.cluster.coordinator import CHECK_S, Coordinator
from tests.simulation.cluster.faults import Faults
from tests.simulation.cluster.gateway import Gateway
from tests.simulation.cluster.owners import Owners, Views
from tests.simulation.cluster.processes import Process, current_release
from tests.simulation.cluster.processor import Processor
from tests.simulation.invariants import (
    EveryRequestIsAnswered,
    LogIsTrimmed,
    NobodyNotices,
    NodesFailAsTheySay,
    Progress,
    ViewEqualsReplay,
)
from tests.simulation.oracle import Oracle
from tests.simulation.plan import Fault
from tests.simulation.plants import Patch
from tests.simulation.releases import REFUSAL, run_releases
from topics import commands, spec
from topics.spec import TopicPartition

GATEWAYS, CLIENTS_EACH = 2, 2
TROUBLE_S, ALONE_S = 25.0, 14.0
THINK_S, THINK_ALONE_S = 0.15, 0.4
LIVE_AGAIN_S, CAUGHT_UP_S = 20.0, 20.0
HAND_OVER_S = 1.0
UNNOTICED = {"restart", "twice"}  # faults that kill no owner
SEVERAL = {"usurp", "misread", "overtake"}  # as they must meet at one moment: faults at once, which may cost an answer
AUDIT_EVERY_S = 3.0
TRIMMED_S = VERY_LATE_S + WINDOW_MS / 1000 + 20  # what lands late begins another window
CALM_S = 5.0  # nobody writes; what a process does that was away must not take reads away
BUCKETS = ("alpha", "beta", "gamma", "delta")


class ClusterWorld(ProcessWorld[Faults]):
    def __init__(self, seed: int, faults: Sequence[Fault] | None = None) -> None:
        super().__init__(seed)
        self.skews_s: dict[str, float] = {}
        self.weather = Weather(self.rng, self.note)
        self.brokers = SimulatedLog("the log", lambda: self._wall_ms("log"), self.loop.time)
        self.log = self.brokers
        self.releases = self.rng.choice([1, 1, 2])
        self.history = History(self.loop.time, REFUSALS if self.releases == 1 else REFUSALS | {REFUSAL})
        self.buckets: dict[str, Bucket] = {}
        names = self.rng.sample(BUCKETS, self.rng.randint(2, len(BUCKETS)))
        self.partitions = checks.partitions_of(names)
        self.oracles = {number: Oracle(number) for number in self.partitions}
        self._names = names
        self.owners = Owners(self.partitions, self.loop, self.rng, self._processor)
        self.gateways = [self._gateway(number) for number in range(GATEWAYS)]
        self._suffer_from(Faults(self, [TROUBLE_S], random.Random(f"faults {seed}")), faults)

    def _shrink(self, patch: Patch) -> None:
        run_releases(patch, current_release)

    def _reached_by_clients(self) -> Counter[str]:
        return self.history.reached

    # what faults act on

    def machines(self) -> list[tuple[Process, Connection]]:
        return [(each.process, each.connection) for each in self._roles()]

    # making it

    def _roles(self) -> list[Processor | Gateway]:
        return [*self.owners.processors, *self.gateways]

    def _wall_ms(self, whose: str) -> int:
        return int((self.loop.time() + self.skews_s.get(whose, 0.0)) * 1000)

    def _processor(self, name: str, coordinator: Coordinator, views: Views) -> Processor:
        process = Process(self.loop, self.rng.random() * 1e6, self.rng.randrange(self.releases))
        connection = Connection(self.log, process, self.weather, name)
        return Processor(name, process, connection, self.weather, coordinator, views, lambda: self._wall_ms("processors"))

    def _gateway(self, number: int) -> Gateway:
        process = Process(self.loop, self.rng.random() * 1e6)
        connection = Connection(self.log, process, self.weather)
        name = f"gateway {number}"
        return Gateway(number, name, process, connection, self.weather, self.owners.find, lambda: self._wall_ms(name))

    # the acts

    async def _live(self) -> None:
        subscribers = await self._start()
        audit = self.loop.create_task(self._audit(subscribers))
        until_s = self.loop.time() + TROUBLE_S
        clients = self._clients(until_s, THINK_S)
        await self._trouble.run(0)
        await self._is_live_again()
        await asyncio.gather(*clients)
        while (
            not self.owners.coordinator.is_settled
        ):  # who died is missed behind a session, its partitions are no one's till then
            await asyncio.sleep(CHECK_S)

        self.history.unanswered.clear()
        self.history.longest_s = 0.0
        clients = self._clients(self.loop.time() + ALONE_S, THINK_ALONE_S)
        await asyncio.sleep(self.rng.random() * 2)
        fault = await self._trouble.one_alone()
        await asyncio.gather(*clients)
        if self.releases == 1:  # who takes over from another release may not know what that one refused
            self._check_answers(fault)
        await asyncio.sleep(CALM_S)
        if audit.done():
            audit.result()
        audit.cancel()
        await self._check(subscribers)

    def _check_answers(self, fault: str) -> None:
        if self.history.unanswered and fault not in SEVERAL:
            raise EveryRequestIsAnswered(f"after one fault alone, not {self.history.unanswered}")
        if fault in UNNOTICED and self.history.longest_s > HAND_OVER_S:
            raise NobodyNotices(f"{fault}: a request took {self.history.longest_s:.1f} s")

    async def _audit(self, subscribers: Mapping[int, checks.Subscriber]) -> None:
        """At any time every view is what a fold of the events gives, and nobody has seen anything else."""
        while True:
            await asyncio.sleep(AUDIT_EVERY_S)
            for role in self._roles():
                if ended := role.ended():
                    raise NodesFailAsTheySay(f"{ended}")
            for each in self.owners.processors:
                for number, oracle in self.oracles.items():
                    await oracle.check_view(self.log, each.ownership.views[number], each.endpoint)
            for number, oracle in self.oracles.items():
                oracle.check_seen(subscribers[number].seen)
            self.note("audit")

    async def _start(self) -> dict[int, checks.Subscriber]:
        await self.log.create_topics(spec.CLUSTER)
        for work in (self.owners.coordinator.watch(), self.owners.coordinator.assign()):
            self.loop.create_task(work)
        for each in self._roles():
            each.process.run(each.start())
        subscribers = {number: checks.Subscriber(self.log, number) for number in self.partitions}
        for subscriber in subscribers.values():
            self.loop.create_task(subscriber.follow())
        await asyncio.sleep(1)
        gateway = self.gateways[0]
        for name in self._names:
            body = commands.CreateBucket(name, name.ljust(32, "0"), "us-east-1")
            await gateway.process.run(gateway.commander.submit(f"bucket {name}", "root", body))
            row = await gateway.process.run(gateway.reads.bucket(name))
            assert row is not None
            self.buckets[name] = row
        return subscribers

    def _clients(self, until_s: float, think_s: float) -> list[asyncio.Task[None]]:
        return [
            gateway.process.run(self._client(number, gateway).run(until_s, think_s))
            for number, gateway in enumerate(self.gateways * CLIENTS_EACH)
        ]

    def _client(self, number: int, gateway: Gateway) -> Client:
        return Client(number, gateway, self.history, self.rng, self.buckets)

    async def _is_live_again(self) -> None:
        """Every partition takes a command and answers a question, from every gateway."""

        async def use(gateway: Gateway, bucket: str) -> None:
            client = self._client(-1, gateway)
            while not await client.put("write", bucket, KEYS[0]):
                await asyncio.sleep(0.2)
            await client.read(bucket, KEYS[0])

        asked = [gateway.process.run(use(gateway, name)) for gateway in self.gateways for name in self.buckets]
        _, late = await asyncio.wait(asked, timeout=LIVE_AGAIN_S)
        if late:
            raise Progress(f"not {LIVE_AGAIN_S} s after all was well")
        for each in asked:
            each.result()

    async def _check(self, subscribers: dict[int, checks.Subscriber]) -> None:
        already = len(self.history.reads)
        reader = self._client(-2, self.gateways[0])
        for name in self.buckets:
            for key in KEYS:
                if not await self.gateways[0].process.run(reader.read(name, key)):
                    raise Progress(f"{self.history.unanswered}")
        last_reads = self.history.reads[already:]
        del self.history.reads[already:]
        checks.check_history(self.history, self.brokers.in_time, last_reads)
        checks.check_refusals(self.history, self.brokers.in_time)
        until_s = self.loop.time() + CAUGHT_UP_S
        while behind := await checks.is_behind(self.log, self.partitions, self.owners.processors):
            if self.loop.time() > until_s:
                raise ViewEqualsReplay(f"{behind} has not caught up after {CAUGHT_UP_S} s")
            await asyncio.sleep(0.25)
        await checks.check_views(self.log, self.partitions, self.owners.processors)
        replays = {number: await checks.replay(self.log, number) for number in self.partitions}
        checks.check_stream(self.history, replays, subscribers)
        await self._is_trimmed()

    async def _is_trimmed(self) -> None:
        """Commands that were refused, or found nothing to do, are not kept either, though nobody asks for more."""
        until_s = self.loop.time() + TRIMMED_S
        kept = [TopicPartition("commands", number) for number in self.partitions]
        while left := [each for each in kept if await self.log.earliest(each) < await self.log.latest(each)]:
            if self.loop.time() > until_s:
                raise LogIsTrimmed(f"{TRIMMED_S} s after the last question {left} are kept")
            await asyncio.sleep(1)
