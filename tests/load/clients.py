"""What 16 clients do while a store is killed under them, and what each was told."""

import hashlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

CLIENTS, KEYS_EACH = 16, 4
SIZES = [0, 1, 4096, 100_000, 300_000, 2 << 20, 8 << 20]
WEIGHTS = [2, 2, 8, 4, 3, 2, 1]
PART_BYTES = 5 << 20
READ_TIMEOUT_S = 20
NOTED_S = 0.1
BUCKET = "faults"


class Store(Protocol):
    """What is under load: one process, or a cluster."""

    @property
    def endpoint(self) -> str: ...

    def client(self, **options: Any) -> Any: ...


class Client(threading.Thread):
    """Writes keys of its own. What it knows of each: the digest it was acknowledged, and those it was not told about."""

    def __init__(self, server: Store, number: int, pause_s: float = 0.0, bucket: str = BUCKET) -> None:
        super().__init__(daemon=True)
        self.bucket = bucket
        self.pause_s = pause_s  # between two requests, on the average
        self.asked: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.rng = random.Random(number)
        self.server = server
        self.number = number
        self.stopping = threading.Event()
        self.known: dict[str, tuple[str | None, set[str | None]]] = {}
        self.acknowledged = 0
        self.wrong: list[str] = []
        self.errors: list[str] = []
        self.answered = time.monotonic()
        self.outages: list[tuple[float, float]] = []  # from a request to the next answer, where that took long

    def run(self) -> None:
        s3 = self.server.client(connect_timeout=2, read_timeout=READ_TIMEOUT_S, max_pool_connections=1)
        actions: list[Callable[[Any, str], None]] = [*[self.put] * 3, self.delete, self.multipart, self.clean, self.read]
        waiting_s = None  # since when an answer is waited for, failures included
        while not self.stopping.is_set():
            action = self.rng.choice(actions)
            self.asked[action.__name__] += 1
            waiting_s = waiting_s or time.monotonic()
            try:
                action(s3, f"{self.number}/{self.rng.randrange(KEYS_EACH)}")
                self.answered = time.monotonic()
                self._note(waiting_s, self.answered)
                waiting_s = None
            except (ClientError, BotoCoreError, KeyError) as error:
                self.failed[action.__name__] += 1
                self.errors.append(f"{action.__name__}: {error!r}")  # KeyError: an answer cut off behind its status line
                time.sleep(0.05)
            if self.pause_s:
                self.stopping.wait(self.rng.expovariate(1 / self.pause_s))
        if waiting_s is not None:
            self._note(waiting_s, time.monotonic())

    @property
    def longest_outage_s(self) -> float:
        return self.longest_outage_since_s(0.0)

    def longest_outage_since_s(self, start: float) -> float:
        """Of those that ended behind a moment of the monotonic clock."""
        return max((ended - began for began, ended in self.outages if ended > start), default=0.0)

    def _note(self, began: float, ended: float) -> None:
        if ended - began > NOTED_S:
            self.outages.append((began, ended))

    def put(self, s3: Any, key: str) -> None:
        data = self.rng.randbytes(self.rng.choices(SIZES, WEIGHTS)[0])
        self._write(key, _digest(data), lambda: s3.put_object(Bucket=self.bucket, Key=key, Body=data))

    def delete(self, s3: Any, key: str) -> None:
        self._write(key, None, lambda: s3.delete_object(Bucket=self.bucket, Key=key))

    def multipart(self, s3: Any, key: str) -> None:
        parts = [self.rng.randbytes(PART_BYTES), self.rng.randbytes(1000)]
        upload = s3.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]
        done = []
        for number, part in enumerate(parts, 1):
            answer = s3.upload_part(Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=number, Body=part)
            done.append({"PartNumber": number, "ETag": answer["ETag"]})
        wanted = {"Parts": done}
        self._write(
            key,
            _digest(b"".join(parts)),
            lambda: s3.complete_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload=wanted),
        )

    def clean(self, s3: Any, key: str) -> None:
        """Abort what this client began and a kill kept it from ending; its parts' space comes back."""
        for each in s3.list_multipart_uploads(Bucket=self.bucket, Prefix=key).get("Uploads", []):
            s3.abort_multipart_upload(Bucket=self.bucket, Key=each["Key"], UploadId=each["UploadId"])

    def read(self, s3: Any, key: str) -> None:
        allowed = self._allowed(key)
        try:
            found = _digest(s3.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] == "InternalError":
                self.wrong.append(f"{key}: {error}")
            if error.response["Error"]["Code"] != "NoSuchKey":
                raise
            found = None
        if found not in allowed:
            self.wrong.append(f"{key}: {found} is not one of {allowed}")

    def _write(self, key: str, digest: str | None, call: Callable[[], object]) -> None:
        acknowledged, possible = self.known.get(key, (None, set()))
        self.known[key] = (acknowledged, possible | {digest})
        call()
        self.known[key] = (digest, set())
        self.acknowledged += 1

    def _allowed(self, key: str) -> set[str | None]:
        acknowledged, possible = self.known.get(key, (None, set()))
        return {acknowledged, *possible}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def start_clients(server: Store, count: int = CLIENTS, pause_s: float = 0.0, bucket: str = BUCKET) -> list[Client]:
    """In a new bucket."""
    server.client().create_bucket(Bucket=bucket)
    clients = [Client(server, number, pause_s, bucket) for number in range(count)]
    for client in clients:
        client.start()
    return clients


def wait_for_answers(clients: list[Client], within_s: float) -> None:
    """Until each client had an answer."""
    start = time.monotonic()
    while any(client.answered <= start for client in clients):
        assert time.monotonic() < start + within_s
        time.sleep(0.1)


def stop_clients(clients: list[Client]) -> None:
    for client in clients:
        client.stopping.set()
    for client in clients:
        client.join(30)
