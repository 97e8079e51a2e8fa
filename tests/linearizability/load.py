"""16 clients without retries on 50 hot keys, at every gateway of a store, until they are told to stop."""

import random
import threading
import time
from collections.abc import Callable, Sequence

from tests.linearizability.checker import Operation
from tests.linearizability.recorder import Attempt, Recorder
from tests.server import client_of

CLIENTS = 16
BUCKETS = ["red", "green", "blue", "amber", "black"]  # each in a partition of its own
KEYS = [f"k{number}" for number in range(10)]  # of each bucket
THINK_S = 0.07  # between two requests of a client: leaves time for the store on a machine of two cores
TIMEOUT_S = 5.0
NEVER = '"00000000000000000000000000000000"'  # an ETag that no object has
WEIGHTS = [4, 2, 3, 1, 2, 3, 3, 1, 1]  # of the actions of a client


class Client(threading.Thread):
    def __init__(self, endpoint: str, number: int, seen: dict[str, str], think_s: float) -> None:
        """`seen`: the value that any client found or wrote last, by key."""
        super().__init__(daemon=True)
        s3 = client_of(endpoint, connect_timeout=2, read_timeout=TIMEOUT_S, max_pool_connections=1)
        self.recorder = Recorder(s3, number)
        self.stopping = threading.Event()
        self.crash: Exception | None = None
        self._rng = random.Random(number)
        self._written = 0
        self._seen = seen
        self._think_s = think_s

    def run(self) -> None:
        conditional = [self._create, self._replace, self._delete_expected]
        actions: list[Callable[[str, str], None]] = [self._put, *conditional, *self._plain(), self._list, self._list_pages]
        try:
            while not self.stopping.wait(self._rng.expovariate(1 / self._think_s)):
                before = len(self.recorder.operations)
                self._rng.choices(actions, WEIGHTS)[0](self._rng.choice(BUCKETS), self._rng.choice(KEYS))
                self._seen |= {
                    each.key: each.value for each in self.recorder.operations[before:] if each.value and each.ended
                }
        except Exception as error:  # noqa: BLE001 - told by `Load.stop`
            self.crash = error

    def _plain(self) -> list[Callable[[str, str], None]]:
        return [self.recorder.delete, self.recorder.get, self.recorder.head]

    def _put(self, bucket: str, key: str) -> None:
        self.recorder.put(bucket, key, self._body())

    def _create(self, bucket: str, key: str) -> None:
        self.recorder.put(bucket, key, self._body(), only_create=True)

    def _replace(self, bucket: str, key: str) -> None:
        self.recorder.put(bucket, key, self._body(), expected=self._expected(bucket, key))

    def _delete_expected(self, bucket: str, key: str) -> None:
        self.recorder.delete(bucket, key, self._expected(bucket, key))

    def _expected(self, bucket: str, key: str) -> str:
        """Often what is there."""
        return self._seen.get(f"{bucket}/{key}", NEVER)

    def _list_pages(self, bucket: str, key: str) -> None:
        self.recorder.list_pages(bucket, KEYS, self._rng.choice([2, 4]))

    def _list(self, bucket: str, key: str) -> None:
        after = self._rng.choice(["", key])
        self.recorder.list_some(bucket, KEYS, after, self._rng.choice([3, 1000]))

    def _body(self) -> bytes:
        self._written += 1
        return f"{self.recorder.number}:{self._written}:".encode() * self._rng.randrange(1, 500)


class Load:
    def __init__(self, endpoints: Sequence[str], think_s: float = THINK_S) -> None:
        """Clients take the endpoints by turns."""
        self.endpoints = endpoints
        seen: dict[str, str] = {}
        self.clients = [Client(self.endpoint(number), number, seen, think_s) for number in range(CLIENTS)]
        self._began = 0.0

    def endpoint(self, client: int) -> str:
        return self.endpoints[client % len(self.endpoints)]

    def start(self) -> "Load":
        s3 = client_of(self.endpoints[0])
        for bucket in BUCKETS:
            s3.create_bucket(Bucket=bucket)
        self._began = time.monotonic()
        for client in self.clients:
            client.start()
        return self

    def wait_until_served(self, within_s: float) -> None:
        """Until a write and a read that began from now on were answered in each bucket."""
        now = time.monotonic()
        wanted = {(bucket, is_write) for bucket in BUCKETS for is_write in (False, True)}
        while not wanted <= {
            (each.bucket, each.is_write) for each in self.attempts if each.started > now and not each.error
        }:
            assert time.monotonic() < now + within_s, "not served any more"
            time.sleep(0.2)

    def stop(self) -> None:
        """Then all keys are read once more, by each gateway."""
        for client in self.clients:
            client.stopping.set()
        for client in self.clients:
            client.join(10 * TIMEOUT_S)
            assert client.crash is None, repr(client.crash)
            assert not client.is_alive()
        for client in self.clients[: len(self.endpoints)]:
            for bucket in BUCKETS:
                client.recorder.list_some(bucket, KEYS, "", 1000)
                for key in KEYS:
                    client.recorder.get(bucket, key)

    @property
    def operations(self) -> list[Operation]:
        return [each for client in self.clients for each in list(client.recorder.operations)]

    @property
    def attempts(self) -> list[Attempt]:
        return [each for client in self.clients for each in list(client.recorder.attempts)]

    @property
    def wrong(self) -> list[str]:
        return [each for client in self.clients for each in client.recorder.wrong]

    @property
    def summary(self) -> str:
        """For whoever reads the output of a test."""
        attempts, errors = self.attempts, [each for each in self.attempts if each.error]
        took_s = max(each.ended for each in attempts) - self._began
        waits = sorted(each.ended - each.started for each in attempts if not each.error)
        unknown = sum(each.ended is None for each in self.operations)
        return (
            f"{len(attempts)} requests in {took_s:.0f} s, {len(errors)} errors, {len(self.operations)} operations, "
            f"{unknown} of unknown outcome; answers {waits[len(waits) // 2] * 1000:.0f} ms p50, {waits[-1]:.1f} s at most"
        )
