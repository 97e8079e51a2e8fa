"""One S3 client that records what it asked and what it was told: operations for the checker, attempts for the outages.

All times are of this process's monotonic clock. An error that leaves the outcome open (a timeout, a 5xx, a connection that
broke) ends no operation. A write that was not sent, or rejected by a 4xx with its S3 code, is none. But where its condition
was not met that says what was there: 412 PreconditionFailed something, and not what was expected; 404 NoSuchKey nothing
(S3 API: Conditional writes).
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from tests.linearizability.checker import Kind, Operation

UNANSWERED = (ClientError, BotoCoreError, KeyError)  # KeyError: an answer that was cut off behind its status line
NOT_SENT = (EndpointConnectionError, ConnectTimeoutError)  # there was no connection
NOTHING = {"NoSuchKey", "404"}  # GET, HEAD


class Attempt(NamedTuple):
    """One request, whatever became of it."""

    client: int
    bucket: str
    is_write: bool
    started: float
    ended: float
    error: str  # empty: it was answered as it should be


class Recorder:
    def __init__(self, s3: Any, number: int) -> None:
        self.number = number
        self.operations: list[Operation] = []
        self.attempts: list[Attempt] = []
        self.wrong: list[str] = []  # what no fault excuses
        self._s3 = s3

    def put(self, bucket: str, key: str, body: bytes, *, only_create: bool = False, expected: str | None = None) -> None:
        """`body` must be unlike all that ever was written to this key. `expected`: an ETag, for If-Match."""
        options = {"IfNoneMatch": "*"} if only_create else _if_match(expected)

        def call() -> None:
            answer = self._s3.put_object(Bucket=bucket, Key=key, Body=body, **options)
            if answer["ETag"] != etag(body):
                self.wrong.append(f"{bucket}/{key}: PUT of {etag(body)} was answered {answer['ETag']}")

        kind: Kind = "create" if only_create else "write" if expected is None else "replace"
        self._write(kind, bucket, key, etag(body), call, expected)

    def delete(self, bucket: str, key: str, expected: str | None = None) -> None:
        """`expected`: an ETag, for If-Match."""
        options = _if_match(expected)
        kind: Kind = "write" if expected is None else "replace"
        self._write(kind, bucket, key, None, lambda: self._s3.delete_object(Bucket=bucket, Key=key, **options), expected)

    def get(self, bucket: str, key: str) -> None:
        def call() -> str:
            answer = self._s3.get_object(Bucket=bucket, Key=key)
            if (found := etag(answer["Body"].read())) != answer["ETag"]:
                self.wrong.append(f"{bucket}/{key}: GET of {answer['ETag']} gave the bytes of {found}")
            return found

        self._read_one(bucket, key, call)

    def head(self, bucket: str, key: str) -> None:
        self._read_one(bucket, key, lambda: str(self._s3.head_object(Bucket=bucket, Key=key)["ETag"]))

    def list_some(self, bucket: str, keys: list[str], after: str, count: int) -> None:
        """A LIST of at most `count` keys behind one. `keys` are all that there may ever be."""
        self._list(bucket, keys, after, {"StartAfter": after, "MaxKeys": count})

    def list_pages(self, bucket: str, keys: list[str], count: int) -> None:
        """A LIST of all keys by pages of at most `count`, each with the token of the one before; ends where one fails."""
        after: str | None = ""
        options: dict[str, Any] = {}
        while after is not None:
            after, token = self._list(bucket, keys, after, {"MaxKeys": count, **options})
            options = {"ContinuationToken": token}

    def _list(self, bucket: str, keys: list[str], after: str, options: Mapping[str, Any]) -> tuple[str | None, str]:
        """A page, which is a read of each key of its range. Its last key and the token, where there is another page."""
        more: list[tuple[str, str]] = []

        def call() -> Mapping[str, str | None]:
            answer = self._s3.list_objects_v2(Bucket=bucket, **options)
            found = {row["Key"]: row["ETag"] for row in answer.get("Contents", [])}
            self.wrong += [f"{bucket}: LIST shows {key}" for key in found if key <= after or key not in keys]
            if list(found) != sorted(found) or len(found) > options["MaxKeys"]:
                self.wrong.append(f"{bucket}: LIST of {options} shows {list(found)}")
            last = max(found) if answer["IsTruncated"] else max(keys)
            if answer["IsTruncated"]:
                more.append((last, answer["NextContinuationToken"]))
            return {key: found.get(key) for key in keys if after < key <= last}

        self._read(bucket, call)
        return more[0] if more else (None, "")

    def _write(
        self, kind: Kind, bucket: str, key: str, value: str | None, call: Callable[[], object], expected: str | None = None
    ) -> None:
        started = time.monotonic()
        error, ended = "", None
        made = Operation(self.number, f"{bucket}/{key}", kind, value, started, None, expected=expected)
        try:
            call()
            ended = time.monotonic()
        except UNANSWERED as failure:
            told = _refused(made, code(failure), time.monotonic())
            error = "" if told else repr(failure)
            if is_rejection(failure) or isinstance(failure, NOT_SENT):
                self.operations += [told] if told else []
                self._attempt(bucket, started, error, is_write=True)
                return
        self._attempt(bucket, started, error, is_write=True)
        self.operations.append(made._replace(ended=ended))

    def _read_one(self, bucket: str, key: str, call: Callable[[], str]) -> None:
        def found() -> Mapping[str, str | None]:
            try:
                return {key: call()}
            except ClientError as failure:
                if code(failure) in NOTHING:
                    return {key: None}
                raise

        self._read(bucket, found)

    def _read(self, bucket: str, call: Callable[[], Mapping[str, str | None]]) -> None:
        started = time.monotonic()
        try:
            found = call()
        except UNANSWERED as failure:
            self._attempt(bucket, started, repr(failure), is_write=False)
            return
        ended = time.monotonic()
        self._attempt(bucket, started, "", is_write=False)
        self.operations += [
            Operation(self.number, f"{bucket}/{key}", "read", value, started, ended) for key, value in found.items()
        ]

    def _attempt(self, bucket: str, started: float, error: str, *, is_write: bool) -> None:
        self.attempts.append(Attempt(self.number, bucket, is_write, started, time.monotonic(), error))
        if "InternalError" in error:
            self.wrong.append(error)


def _if_match(expected: str | None) -> dict[str, str]:
    return {} if expected is None else {"IfMatch": expected}


def _refused(made: Operation, error: str, ended: float) -> Operation | None:
    """What a refusal says of the value that was there. None where it is none of a condition."""
    match made.kind, error:
        case (("create" | "replace"), "PreconditionFailed"):
            return made._replace(kind="refused", value=None, ended=ended)
        case "replace", "NoSuchKey":
            return made._replace(kind="read", value=None, ended=ended, expected=None)
    return None


def etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def code(failure: Exception) -> str:
    return str(failure.response["Error"]["Code"]) if isinstance(failure, ClientError) else ""


def is_rejection(failure: Exception) -> bool:
    """Not a 400 without a code: botocore may send a body alone to a server that was started anew."""
    if not isinstance(failure, ClientError) or code(failure).isdigit():
        return False
    return 400 <= int(failure.response["ResponseMetadata"]["HTTPStatusCode"]) < 500
