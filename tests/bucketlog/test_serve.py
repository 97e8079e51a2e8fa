"""`bucketlog serve` as scripts see it: settings, keys, its refusals in one line, and how it stops."""

import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from bucketlog import credentials
from bucketlog.settings import Settings
from tests.server import BUCKETLOG, Server, free_port

STOP_S_MAX = 10


def clean_env(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("BUCKETLOG_")} | more


def refused(*flags: str, **env: str) -> str:
    """The one line that a start which must fail prints."""
    command = [BUCKETLOG, "serve", *flags]
    done = subprocess.run(command, check=False, env=clean_env(**env), capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("bucketlog: ")
    return line


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        line = refused("--data", str(tmp_path), "--port", str(taken.getsockname()[1]))
    assert "cannot listen on 127.0.0.1" in line
    assert "in use" in line


def test_a_folder_that_another_process_holds(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    assert "held by another process" in refused("--data", str(server.data), "--port", str(free_port()))
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("content", "why"),
    [('{"version": 99}', "upgrade bucketlog"), ("{", "format.json"), ('{"version": "x"}', "format.json")],
)
def test_a_folder_of_another_format(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "format.json").write_text(content)
    assert why in refused("--data", str(tmp_path), "--port", str(free_port()))
    assert not (tmp_path / "journal").exists()  # nothing in it was touched


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be used" in refused("--data", str(tmp_path / "file"), "--port", str(free_port()))


@pytest.mark.parametrize(
    ("flags", "env", "why"),
    [
        (["--port", "70000"], {}, "port"),
        ([], {"BUCKETLOG_PORT": "http", "BUCKETLOG_SECRET_ACCESS_KEY": "hidden"}, "port"),
        ([], {"BUCKETLOG_ACCESS_KEY_ID": "half"}, "BUCKETLOG_SECRET_ACCESS_KEY"),
        (["--config", "missing.toml"], {}, "missing.toml"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, flags: list[str], env: dict[str, str], why: str) -> None:
    line = refused("--data", str(tmp_path / "data"), *flags, **env)
    assert why in line
    assert "hidden" not in line


def test_a_misspelt_name_in_the_file_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "bucketlog.toml"
    config.write_text("prot = 9000\n")
    assert "prot" in refused("--config", str(config))


def start(*flags: str, **env: str) -> tuple[subprocess.Popen[str], list[str]]:
    """A process of its own and what it printed until it served."""
    process = subprocess.Popen([BUCKETLOG, "serve", *flags], env=clean_env(**env), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "try:" in line:
            break
    return process, lines


def end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    assert process.wait(STOP_S_MAX) == 0
    assert process.stdout is not None
    process.stdout.close()


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    by_flag, by_env, by_file = free_port(), free_port(), free_port()
    config = tmp_path / "bucketlog.toml"
    config.write_text(f'port = {by_file}\nhost = "127.0.0.1"\ndata = "{tmp_path / "data"}"\n')
    process, lines = start(BUCKETLOG_CONFIG=str(config))
    end(process)
    assert f"http://127.0.0.1:{by_file}, data in {tmp_path / 'data'}" in lines[0]
    process, lines = start("--config", str(config), BUCKETLOG_PORT=str(by_env))
    end(process)
    assert f":{by_env}," in lines[0]
    process, lines = start("--config", str(config), "--port", str(by_flag), BUCKETLOG_PORT=str(by_env))
    end(process)
    assert f":{by_flag}," in lines[0]


def test_keys_are_generated_once_and_kept_for_their_owner_only(tmp_path: Path) -> None:
    flags = ("--data", str(tmp_path), "--port", str(free_port()))
    process, lines = start(*flags)
    end(process)
    path = tmp_path / "credentials.json"
    kept = json.loads(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert any(str(path) in line for line in lines)
    assert not any(kept["secret_access_key"] in line for line in lines)
    process, lines = start(*flags)
    end(process)
    assert json.loads(path.read_text()) == kept
    assert not any(kept["secret_access_key"] in line for line in lines)


def test_keys_outlive_each_disk(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "abc"]
    flags = [flag for folder in folders for flag in ("--data", str(folder))]
    process, _ = start(*flags, "--port", str(free_port()))
    end(process)
    kept = (folders[0] / "credentials.json").read_text()
    for lost in folders:
        shutil.rmtree(lost)
        process, lines = start(*flags, "--port", str(free_port()))
        end(process)
        assert json.loads(kept)["access_key_id"] in lines[-1]
        assert {(folder / "credentials.json").read_text() for folder in folders} == {kept}
        assert {stat.S_IMODE((folder / "credentials.json").stat().st_mode) for folder in folders} == {0o600}


def test_keys_that_cannot_be_read_are_taken_from_another_folder_and_never_made_anew(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    credentials.load(Settings(), folders)
    (folders[0] / "credentials.json").write_text("{")
    kept, is_new = credentials.load(Settings(), folders)
    assert (kept.access_key, is_new) == (credentials.known(Settings(), folders[1]).access_key, False)
    with pytest.raises(ValueError, match="Expecting property name"):
        credentials.load(Settings(), folders[:1])


def test_folders_of_two_stores_are_refused(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        process, _ = start("--data", str(folder), "--port", str(free_port()))
        end(process)
    before = (folders[1] / "log.json").read_text()
    assert "belong to different stores" in refused("--data", str(folders[0]), "--data", str(folders[1]))
    assert (folders[1] / "log.json").read_text() == before


def test_one_of_three_disks_alone_is_refused(tmp_path: Path) -> None:
    folders = [str(tmp_path / name) for name in "abc"]
    process, _ = start(*[flag for folder in folders for flag in ("--data", folder)], "--port", str(free_port()))
    end(process)
    line = refused("--data", folders[2], "--port", str(free_port()))
    assert folders[0] in line
    assert "without its mirror.json" in line


def test_a_request_under_way_ends_when_the_store_is_stopped(tmp_path: Path) -> None:
    """The client sends slowly; SIGTERM comes in the middle; the object is acknowledged, and there after a restart."""
    server = Server(tmp_path / "data").start()
    server.client().create_bucket(Bucket="stop")
    url = server.client().generate_presigned_url("put_object", Params={"Bucket": "stop", "Key": "slow"})
    body, first = os.urandom(3_000_000), 1_000_000
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("PUT", url.removeprefix(server.endpoint))
    connection.putheader("content-length", str(len(body)))
    connection.endheaders(body[:first])
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    _wait_until_closed_to_others(server)
    connection.send(body[first:])
    assert connection.getresponse().status == 200
    connection.close()
    assert server.process.wait(STOP_S_MAX) == 0
    server.start()
    assert server.client().get_object(Bucket="stop", Key="slow")["Body"].read() == body
    assert server.stop() == 0


def test_a_request_that_never_ends_does_not_keep_the_store_from_stopping(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    server.client().create_bucket(Bucket="stop")
    url = server.client().generate_presigned_url("put_object", Params={"Bucket": "stop", "Key": "stuck"})
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.putrequest("PUT", url.removeprefix(server.endpoint))
    connection.putheader("content-length", "1000000")
    connection.endheaders(bytes(500_000))
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < STOP_S_MAX
    connection.close()
    server.start()
    assert "Contents" not in server.client().list_objects_v2(Bucket="stop")
    assert server.stop() == 0


def test_every_write_acknowledged_before_a_stop_is_there_after_it(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    server.client().create_bucket(Bucket="stop")
    acknowledged: list[str] = []

    def put(writer: int) -> None:
        s3 = server.client()
        try:
            for number in range(100_000):
                s3.put_object(Bucket="stop", Key=f"{writer}/{number}", Body=b"x" * 4096)
                acknowledged.append(f"{writer}/{number}")
        except Exception:  # noqa: BLE001 - the store is gone: what this waits for
            return

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 100:
        threads[0].join(0.01)
    assert server.stop() == 0
    for thread in threads:
        thread.join()
    server.start()
    pages = server.client().get_paginator("list_objects_v2").paginate(Bucket="stop")
    assert set(acknowledged) <= {row["Key"] for page in pages for row in page["Contents"]}
    assert server.stop() == 0


def test_health(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    for path in ("/healthz", "/readyz"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", path)
        assert connection.getresponse().status == 200
        connection.close()
    assert server.stop() == 0


def _wait_until_closed_to_others(server: Server) -> None:
    while True:
        try:
            socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        except OSError:
            return
