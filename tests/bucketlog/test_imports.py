"""What is not loaded: help is there at once, and each of the many processes of a cluster holds only what it runs."""

import subprocess
import sys

import pytest

HELP = "import sys; sys.argv = ['bucketlog', '--help']; from bucketlog.cli import main; main()"
SERVERS = {"asyncio", "pydantic", "starlette", "structlog", "uvicorn", "uvloop"}
KAFKA = {"aiohttp", "aiokafka", "confluent_kafka", "faust"}
STORAGE = {"awscrt", "rocksdict"}
OURS = {"datanode", "gateway", "processors", "topics"}


def loaded(code: str) -> set[str]:
    """The modules of a process that runs `code`."""
    tell = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    done = subprocess.run([sys.executable, "-c", f"{tell}; {code}"], check=True, capture_output=True, text=True)
    return set(done.stderr.split())


def test_help_loads_nothing_of_what_commands_run() -> None:
    assert loaded(HELP) & (SERVERS | KAFKA | STORAGE | OURS) == set()


@pytest.mark.parametrize(
    ("module", "others"),
    [
        ("serve", KAFKA | {"bucketlog.roles"}),
        ("roles.gateway", {"faust", "rocksdict", "bucketlog.store", "processors.runtime", "topics.embedded"}),
        ("roles.processor", {"gateway.app", "gateway.router", "bucketlog.store", "topics.embedded"}),
        ("roles.datanode", {"faust", "gateway.app", "gateway.router", "bucketlog.store", "topics.embedded"}),
        ("roles.cluster", STORAGE | {"faust"}),  # `bucketlog topics`
        ("cli.operate", KAFKA | {"rocksdict", "uvicorn"}),  # `bucketlog status`
    ],
)
def test_a_command_loads_what_it_runs_alone(module: str, others: set[str]) -> None:
    found = loaded(f"import bucketlog.cli, bucketlog.{module}")
    assert f"bucketlog.{module}" in found
    assert found & others == set()
