"""One seeded cluster, all of it: S3 clients, gateways, owners, data nodes on disks that forget; then the checks.

Faults of all kinds at once; then all is well again: the store answers within a bound, no request fails any more, and in the
end data nodes have what metadata names and nothing else.
"""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import SimpleNamespace

from datanode import extent, hedge
from gateway import open_reads, payload, submit
from processors import readers, remote
from processors.machine import apply, complete, decide
from processors.memory import MemoryView
from tests.simulation.cluster.base import ProcessWorld
from tests.simulation.cluster.broker import LONG_DELAY_S, Connection, SimulatedLog, Weather
from tests.simulation.cluster.checks import (
    Subscriber,
    check_history,
    check_refusals,
    check_stream,
    is_behind,
    partitions_of,
    replay,
)
from tests.simulation.cluster.checks import check_views as check_followers
from tests.simulation.cluster.coordinator import CHECK_S, Coordinator
from tests.simulation.cluster.owners import Owners, Views
from tests.simulation.cluster.processes import PROCESS, Process
from tests.simulation.data import checks, scale
from tests.simulation.data.host import Host
from tests.simulation.data.network import Machine, Network
from tests.simulation.disk import SimulatedDisk
from tests.simulation.invariants import (
    EveryRequestIsAnswered,
    NodesFailAsTheySay,
    Progress,
    ReplicasConverge,
    ViewEqualsReplay,
)
from tests.simulation.oracle import Oracle
from tests.simulation.plan import Fault, swarm
from tests.simulation.plants import Patch
from tests.simulation.whole.asking import Place, Told
from tests.simulation.whole.clients import ALWAYS, KEYS, KINDS, TAKES_S, Client
from tests.simulation.whole.faults import Faults
from tests.simulation.whole.gateway import RESTART_S, Gateway
from tests.simulation.whole.http import REQUEST, Asked
from tests.simulation.whole.processor import Processor
from topics import spec
from topics.placement import Placement

GATEWAYS, CLIENTS = 2, 4
TROUBLE_S, CALM_S = 18.0, 5.0
THINK_S, THINK_CALM_S = 0.35, 0.3
READY_S, LIVE_AGAIN_S, CONVERGED_S = 20.0, 25.0, 60.0
READ_S, READERS_LEASE_S = 2.5, 3.0  # a window of a payload; how long a gateway's word on its reads is good
ANSWER_S = 3.0  # when all is well, for who reads and writes at once
AUDIT_EVERY_S = 3.0
REPLACED_S = 1.5  # since a slow read of it began
LATENESS_S = (0.1, 6.0)  # shorter than the age of an orphan: nothing is on its way for hours
MINTED_OFF_S = 2.0  # what a gateway's clock may be off, against the age of an orphan
BUCKETS = ("alpha", "beta", "gamma", "delta")


class WholeWorld(ProcessWorld[Faults]):
    def __init__(self, seed: int, faults: Sequence[Fault] | None = None) -> None:
        super().__init__(seed)
        self.skews_s: dict[str, float] = {}
        self.weather = Weather(self.rng, self.note, LATENESS_S)
        self.brokers = SimulatedLog("the log", lambda: int(self._nearly_right_s("log") * 1000), self.loop.time)
        self.log = self.brokers
        self.network = Network(self.loop, self.weather, self.rng, self.note)
        self.told = Told(self.loop.time)
        self.buckets = self.rng.sample(BUCKETS, 2)
        self.partitions = partitions_of(self.buckets)
        self._owned = [*self.partitions, spec.CONTROL_PARTITION]
        self.oracles = {number: Oracle(number) for number in self._owned}
        self.owners = Owners(self._owned, self.loop, self.rng, self._processor)
        self.hosts: list[Host] = []
        self.gateways: list[Gateway] = []
        self.clients: list[Client] = []
        self._faithful: list[Client] = []  # to one gateway each
        self._slow: list[asyncio.Task[None]] = []
        self._kinds = ALWAYS | swarm(
            random.Random(f"clients {seed}"), KINDS
        )  # a slow read would hold garbage for all others
        self._suffer_from(Faults(self, [TROUBLE_S], random.Random(f"faults {seed}")), faults)

    def _reached_by_clients(self) -> Counter[str]:
        return self.told.reached

    def _shrink(self, patch: Patch) -> None:
        """Smaller, shorter, and by this world's clocks and draws."""
        scale.shrink(patch)
        patch.setattr(payload, "INLINE_BYTES_MAX", 3_000)
        patch.setattr(payload, "WINDOW_BYTES", 6_000)
        patch.setattr(payload, "JOINED_BYTES_MAX", 6_000)
        patch.setattr(extent, "RESEND_BYTES_MAX", 30_000)
        patch.setattr(complete, "PART_BYTES_MIN", 1)
        patch.setattr(decide, "PARTS_DISCARDED_MAX", 2)
        patch.setattr(apply, "ROWS_AT_ONCE_MAX", 2)
        patch.setattr(submit, "DEADLINE_MS", 12_000)
        patch.setattr(remote, "DEADLINE_S", 12.0)
        patch.setattr(hedge, "READ_S", READ_S)
        patch.setattr(open_reads, "LEASE_S", READERS_LEASE_S)
        patch.setattr(readers, "GONE_S", READERS_LEASE_S + READ_S + 0.5)
        minted = SimpleNamespace(uuid4=lambda: uuid.UUID(int=self.rng.getrandbits(128)))
        patch.setattr("gateway.multipart.uuid", minted)
        patch.setattr("gateway.buckets.uuid", minted)
        patch.setattr("gateway.request.new_id", lambda: REQUEST.get().upper())
        patch.setattr("gateway.authn.time", SimpleNamespace(time=self._gateways_time))

    def _disks(self) -> Iterable[SimulatedDisk]:
        return [each.disk for each in self.hosts]

    # what faults act on

    def machines(self) -> list[tuple[Process, Connection]]:
        roles = [(each.process, each.connection) for each in self.owners.processors]
        return [*roles, *((each.machine, each.connection) for each in self._outside())]

    def members(self) -> list[str]:
        processors = [each.endpoint.removeprefix("http://") for each in self.owners.processors]
        return [*processors, *(each.name for each in self._outside())]

    def _outside(self) -> list[Host | Gateway]:
        return [*self.hosts, *self.gateways]

    def add_host(self) -> None:
        host = Host(len(self.hosts), self.network, self.log, self.weather)
        self.hosts.append(host)
        host.start()

    def placement(self) -> Placement:
        return max((each.known.current for each in self.hosts), key=lambda found: found.epoch)

    def replace_judge(self) -> None:
        for each in self.owners.processors:
            assert isinstance(each, Processor)
            each.judge_replaced.set()

    def read_slowly(self, gateway: Gateway) -> None:
        number, place = self.gateways.index(gateway), Place(self.rng.choice(self.buckets), self.rng.choice(KEYS))
        reader, writer = self._faithful[number], self._faithful[number - 1]

        async def replace() -> None:
            await asyncio.sleep(REPLACED_S)
            await writer.put(place)

        async def read() -> None:
            await writer.put(place, is_large=True)
            await asyncio.gather(reader.read(place, TAKES_S[-1]), replace())

        self._slow.append(self.loop.create_task(read()))

    async def is_whole(self, since_s: float) -> bool:
        if any(each.is_writing(since_s) for each in [*self.clients, *self._faithful]):
            return False
        return await checks.is_whole(self.log, self.placement(), self.hosts)

    # making it

    def _off_s(self, whose: str) -> float:
        return self.skews_s.get(whose, 0.0)

    def _nearly_right_s(self, whose: str) -> float:
        """What a clock shows that is not so wrong that what is being written would be as old as an orphan."""
        return self.loop.time() + max(-MINTED_OFF_S, min(self._off_s(whose), MINTED_OFF_S))

    def _wall_ms(self, whose: str) -> int:
        return int((self.loop.time() + self._off_s(whose)) * 1000)

    def _gateways_time(self) -> float:
        machine = PROCESS.get()
        assert isinstance(machine, Machine)
        return self._wall_ms(machine.name) / 1000

    def _processor(self, name: str, coordinator: Coordinator, views: Views) -> Processor:
        machine = Machine(self.loop, name, self.rng.random() * 1e6)
        connection = Connection(self.log, machine, self.weather, name)
        clock_ms = lambda: self._wall_ms("processors")  # noqa: E731
        return Processor(name, machine, connection, self.weather, coordinator, views, clock_ms, self.network, self._ended)

    def _ended(self, processor: str) -> None:
        """As an operator has it restarted, by `/healthz`."""

        def restart() -> None:
            for slot, each in enumerate(self.owners.processors):
                if each.endpoint == f"http://{processor}" and not each.process.is_dead:
                    each.process.kill()
                    self.owners.start(slot)

        self.note("processor restarted, as a part of it had ended")
        self.loop.in_world(RESTART_S, restart)

    def _gateway(self, number: int) -> Gateway:
        found = self.owners.find
        return Gateway(number, self.network, self.log, self.weather, found, self._wall_ms, self._nearly_right_s)

    def _client(self, number: int, gateways: list[Gateway]) -> Client:
        return Client(number, gateways, self.told, self.rng, self.buckets, self.partitions)

    # the acts

    async def _live(self) -> None:
        subscribers = await self._start()
        audit = self.loop.create_task(self._audit(subscribers))
        clients = self._clients(self.loop.time() + TROUBLE_S, THINK_S)
        await self._trouble.run(0)
        await asyncio.gather(*clients, *self._slow)
        await self._trouble.end()
        await asyncio.sleep(RESTART_S)  # of what ended just now
        await self._is_live_again()

        self.told.unanswered.clear()
        self.told.longest_s = 0.0
        await asyncio.gather(*self._clients(self.loop.time() + CALM_S, THINK_CALM_S))
        if self.told.unanswered:
            raise EveryRequestIsAnswered(f"all was well, and not {self.told.unanswered}")
        if self.told.longest_s > ANSWER_S:
            raise EveryRequestIsAnswered(f"all was well, and one took {self.told.longest_s:.1f} s")
        await self._converges()
        await self._check(subscribers)
        if audit.done():
            audit.result()
        audit.cancel()

    async def _start(self) -> dict[int, Subscriber]:
        await self.log.create_topics(scale.TOPICS)
        for work in (self.owners.coordinator.watch(), self.owners.coordinator.assign()):
            self.loop.create_task(work)
        for each in self.owners.processors:
            each.process.run(each.start())
        for _ in range(self.rng.choice([3, 3, 4])):
            self.add_host()
        self.gateways += [self._gateway(number) for number in range(GATEWAYS)]
        self._faithful += [self._client(-3, [gateway]) for gateway in self.gateways]
        subscribers = {number: Subscriber(self.log, number) for number in self.partitions}
        for subscriber in subscribers.values():
            self.loop.create_task(subscriber.follow())

        async def why_not() -> str:
            placement = self.placement()
            return await checks.not_whole(self.log, placement, self.hosts) if placement.groups else "there is no map"

        await self._becomes(READY_S, why_not)
        maker = self._client(-1, self.gateways)
        for name in self.buckets:
            answer = await maker.ask("bucket", Asked(maker.request(), "PUT", f"/{name}"))
            if answer is None or answer.status != 200:
                raise Progress(f"no bucket at the start: {answer}")
        return subscribers

    def _clients(self, until_s: float, think_s: float) -> list[asyncio.Task[None]]:
        self.clients = self.clients or [self._client(number, self.gateways) for number in range(CLIENTS)]
        return [self.loop.create_task(each.run(until_s, think_s, self._kinds)) for each in self.clients]

    async def _audit(self, subscribers: dict[int, Subscriber]) -> None:
        """At any time every view is what a fold of the events gives, nobody has seen anything else, no part has ended."""
        while True:
            await asyncio.sleep(AUDIT_EVERY_S)
            for each in self.owners.processors:
                if each.ownership.stopped and not each.process.is_dead:
                    raise NodesFailAsTheySay(f"{each.endpoint}: {each.ownership.stopped}")
                for number, oracle in self.oracles.items():
                    await oracle.check_view(self.log, each.ownership.views[number], each.endpoint)
            for number, subscriber in subscribers.items():
                self.oracles[number].check_seen(subscriber.seen)
            if self.network.failures:
                raise NodesFailAsTheySay(f"{self.network.failures}")
            self.told.check_refused()
            self.note("audit")

    async def _is_live_again(self) -> None:
        """Each bucket takes an object and gives it, at each gateway; then nodes are up, and groups have all of them."""

        async def use(gateway: Gateway, bucket: str) -> None:
            client = self._client(-1, [gateway])
            while not (await client.put(Place(bucket, KEYS[0])) and await client.read(Place(bucket, KEYS[0]))):
                await asyncio.sleep(0.2)

        asked = [self.loop.create_task(use(gateway, name)) for gateway in self.gateways for name in self.buckets]
        _, late = await asyncio.wait(asked, timeout=LIVE_AGAIN_S)
        if late:
            raise Progress(f"not {LIVE_AGAIN_S} s after all was well: {self.told.unanswered[-3:]}")
        for each in asked:
            each.result()
        while not self.owners.coordinator.is_settled:  # who died is missed behind a session
            await asyncio.sleep(CHECK_S)
        await self._becomes(CONVERGED_S, self._why_not_whole)
        await asyncio.sleep(LONG_DELAY_S)  # until gateways know it

    async def _why_not_whole(self) -> str:
        placement = self.placement()
        if down := [name for name in placement.nodes if not placement.is_up(name)]:
            return f"{down} are not up"
        return await checks.not_whole(self.log, placement, self.hosts)

    async def _becomes(self, within_s: float, why_not: Callable[[], Awaitable[str]]) -> None:
        until_s = self.loop.time() + within_s
        while why := await why_not():
            if self.loop.time() > until_s:
                raise ReplicasConverge(f"not within {within_s} s: {why}")
            await asyncio.sleep(0.5)

    async def _converges(self) -> None:
        async def why_not() -> str:
            return await checks.not_converged(self.log, self.placement(), self._views().values(), self.hosts)

        await self._becomes(CONVERGED_S, why_not)

    def _views(self) -> dict[int, MemoryView]:
        """The owners'."""
        found = dict[int, MemoryView]()
        for each in self.owners.processors:
            for number in each.ownership.runtimes:
                view = each.ownership.views[number]
                assert isinstance(view, MemoryView)
                found[number] = view
        return found

    async def _check(self, subscribers: dict[int, Subscriber]) -> None:
        told, already = self.told, len(self.told.reads)
        reader = self._client(-2, self.gateways)
        for bucket in self.buckets:
            for key in KEYS:
                if not await reader.read(Place(bucket, key)):
                    raise Progress(f"{told.unanswered}")
        told.check_refused()
        last_reads = told.reads[already:]
        del told.reads[already:]
        check_history(told, self.brokers.in_time, last_reads)
        check_refusals(told, self.brokers.in_time)
        until_s = self.loop.time() + LIVE_AGAIN_S
        while behind := await is_behind(self.log, self._owned, self.owners.processors):
            if self.loop.time() > until_s:
                raise ViewEqualsReplay(f"{behind} has not caught up after {LIVE_AGAIN_S} s")
            await asyncio.sleep(0.25)
        await check_followers(self.log, self._owned, self.owners.processors)
        check_stream(told, {number: await replay(self.log, number) for number in self.partitions}, subscribers)
