"""A store whose machine's clock is set while it runs: what was written stays, and writes go on."""

import datetime
import http.client
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.crt.auth
import pytest

from gateway.payload import EXTENT_BYTES_MAX
from tests.bucketlog.set_clock import CLOCK
from tests.server import Server

HOUR_S, YEAR_S = 3_600, 365 * 86_400
ORPHAN_AFTER_S = 120
SWEPT_S = 4.0  # and who looks for orphans has looked


class Machine:
    """The store, and a client with the same clock: else its signatures would be refused."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._file = folder / "clock"
        self._patch = patch
        self.set(0)
        env = {CLOCK: str(self._file), "BUCKETLOG_ORPHAN_AFTER_S": str(ORPHAN_AFTER_S)}
        self.server = Server(folder / "data", module="tests.bucketlog.set_clock", env=env)
        self.written: dict[str, bytes] = {}

    def set(self, off_s: int) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(off_s))
        fresh.replace(self._file)

        def now(**_: bool) -> datetime.datetime:
            return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=off_s)

        for signer in (botocore.auth, botocore.crt.auth):
            self._patch.setattr(signer, "get_current_datetime", now)

    def write(self, *keys: str) -> None:
        s3 = self.server.client()
        for key in keys:
            for size in (1_000, 100_000):  # by the log, and straight into volumes
                name = f"{key}/{size}"
                s3.put_object(Bucket="clocks", Key=name, Body=name.encode() * size)
                self.written[name] = name.encode() * size

    def check(self) -> None:
        s3 = self.server.client()
        listed = s3.list_objects_v2(Bucket="clocks").get("Contents", [])
        assert {each["Key"] for each in listed} == set(self.written)
        for key, body in self.written.items():
            assert _read(s3, key) == body


def _read(s3: Any, key: str) -> bytes:
    body: bytes = s3.get_object(Bucket="clocks", Key=key)["Body"].read()
    return body


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    made = Machine(tmp_path, monkeypatch)
    made.server.start()
    yield made
    if made.server.process is not None and made.server.process.poll() is None:
        made.server.kill()


@pytest.mark.parametrize("ahead_s", [HOUR_S, YEAR_S])
def test_a_clock_that_was_ahead_costs_nothing(machine: Machine, ahead_s: int) -> None:
    machine.server.client().create_bucket(Bucket="clocks")
    machine.write("before")
    machine.set(ahead_s)
    machine.write("ahead")
    machine.check()
    machine.set(0)
    machine.write("after")
    machine.server.client().delete_object(Bucket="clocks", Key="before/1000")
    del machine.written["before/1000"]
    machine.check()
    assert machine.server.stop() == 0
    machine.server.start()
    machine.write("again")
    machine.check()


def test_a_clock_that_is_behind_at_a_start_costs_nothing(machine: Machine) -> None:
    machine.server.client().create_bucket(Bucket="clocks")
    machine.write("before")
    machine.server.kill()
    machine.set(-HOUR_S)
    machine.server.start()
    machine.write("behind")
    machine.set(0)
    machine.write("after")
    machine.check()


def test_an_upload_that_goes_on_while_the_clock_is_set_ahead_is_no_orphan(machine: Machine) -> None:
    """Its first extent is in the volumes already. A machine without a clock of its own starts so, until it asks another."""
    s3 = machine.server.client(signature_version="s3v4")
    s3.create_bucket(Bucket="clocks")
    first, rest = os.urandom(EXTENT_BYTES_MAX + 1), b"the rest"
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "clocks", "Key": "k"})
    connection = http.client.HTTPConnection("127.0.0.1", machine.server.port)
    connection.putrequest("PUT", url.removeprefix(machine.server.endpoint))
    connection.putheader("content-length", str(len(first) + len(rest)))
    connection.endheaders()
    connection.send(first)
    time.sleep(SWEPT_S)
    machine.set(YEAR_S)
    time.sleep(SWEPT_S)
    connection.send(rest)
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (200, b"")
    connection.close()
    assert _read(machine.server.client(), "k") == first + rest
