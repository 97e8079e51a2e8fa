"""Clients of few hot keys, at all gateways of a store, who write down what they asked and what they were told."""

import hashlib
import itertools
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.linearizability.checker import Kind, Operation

BUCKETS = ["hot-a", "hot-b", "hot-c", "hot-d", "hot-e"]  # five partitions
KEYS = [f"k{number}" for number in range(10)]
_values = itertools.count(1)


class HotClient(threading.Thread):
    def __init__(self, s3: Any, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.operations: list[Operation] = []
        self.stopping = threading.Event()
        self._s3 = s3
        self._rng = random.Random(seed)

    def run(self) -> None:
        actions: list[Callable[[str, str], None]] = [*[self.put] * 4, *[self.get] * 5, self.delete, self.list, self.create]
        while not self.stopping.is_set():
            self._rng.choice(actions)(self._rng.choice(BUCKETS), self._rng.choice(KEYS))

    def put(self, bucket: str, key: str) -> None:
        body = b"%d" % next(_values)
        self._write("write", bucket, key, tag(body), lambda: self._s3.put_object(Bucket=bucket, Key=key, Body=body))

    def create(self, bucket: str, key: str) -> None:
        body = b"%d" % next(_values)
        asked = {"Bucket": bucket, "Key": key, "Body": body, "IfNoneMatch": "*"}
        self._write("create", bucket, key, tag(body), lambda: self._s3.put_object(**asked))

    def delete(self, bucket: str, key: str) -> None:
        self._write("write", bucket, key, None, lambda: self._s3.delete_object(Bucket=bucket, Key=key))

    def get(self, bucket: str, key: str) -> None:
        started = time.monotonic()
        try:
            found = tag(self._s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchKey":
                return
            found = None
        except (BotoCoreError, KeyError):
            return
        self._note("read", bucket, key, found, started, time.monotonic())

    def list(self, bucket: str, _: str) -> None:
        """Every key of the bucket is read at once."""
        started = time.monotonic()
        try:
            rows = self._s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        except (ClientError, BotoCoreError, KeyError):
            return
        ended, tags = time.monotonic(), {row["Key"]: row["ETag"].strip('"') for row in rows}
        for key in KEYS:
            self._note("read", bucket, key, tags.get(key), started, ended)

    def _write(self, kind: Kind, bucket: str, key: str, value: str | None, call: Callable[[], object]) -> None:
        started = time.monotonic()
        try:
            call()
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                return  # it had no effect
            self._note(kind, bucket, key, value, started, None)
        except (BotoCoreError, KeyError):
            self._note(kind, bucket, key, value, started, None)
        else:
            self._note(kind, bucket, key, value, started, time.monotonic())

    def _note(self, kind: Kind, bucket: str, key: str, value: str | None, started: float, ended: float | None) -> None:
        self.operations.append(Operation(self.number, f"{bucket}/{key}", kind, value, started, ended))


def tag(body: bytes) -> str:
    """The value that a body stands for: what a listing shows of it."""
    return hashlib.md5(body, usedforsecurity=False).hexdigest()
