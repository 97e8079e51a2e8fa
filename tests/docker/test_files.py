"""What the files of docker/ say fits the settings, the command line, the docs and each other; no Docker is needed."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from bucketlog import settings
from bucketlog.cli import app

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
REQUIRED = re.compile(r"\$\{(\w+):\?.+\}")  # Compose refuses to start without it
SECRET = re.compile("SECRET|PASSWORD|KEY|TOKEN")
PORTS = {"gateway": 9000, "datanode": 9100, "processor": 9200}


def of_role(role: str) -> dict[str, dict[str, Any]]:
    return {name: each for name, each in SERVICES.items() if each.get("command") == role}


def environment(service: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in service.get("environment", {}).items()}


BROKERS = {name: environment(each) for name, each in SERVICES.items() if each["image"].startswith("apache/kafka:")}
ROLES = {name: each for name, each in SERVICES.items() if each["image"] == "bucketlog:local"}


def test_every_service_runs_a_role_that_the_command_line_has() -> None:
    commands = {each.callback.__name__ for each in app.registered_commands if each.callback}
    assert {each["command"] for each in ROLES.values()} == set(PORTS) <= commands
    assert {role: len(of_role(role)) for role in PORTS} == {"gateway": 2, "datanode": 4, "processor": 2}


@pytest.mark.parametrize("name", ROLES)
def test_every_variable_is_a_setting_with_a_value_that_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in environment(ROLES[name]).items():
        assert variable.removeprefix("BUCKETLOG_").lower() in settings.Settings.model_fields
        monkeypatch.setenv(variable, REQUIRED.sub("a text of 16 bytes", value))
    found = settings.load(None, {})
    assert found.port == PORTS[ROLES[name]["command"]]
    assert found.kafka == ",".join(f"{broker}:9092" for broker in BROKERS)
    assert found.kafka_replication == len(BROKERS) == 3


def test_data_nodes_and_processors_are_reached_by_their_names_and_keep_their_own_data() -> None:
    for name, service in (of_role("datanode") | of_role("processor")).items():
        assert environment(service)["BUCKETLOG_ADVERTISE"] == f"http://{name}:{PORTS[service['command']]}"
        assert service["volumes"] == [f"{name}:/data"]
    assert {name: each["volumes"] for name, each in SERVICES.items() if name in BROKERS} == {
        name: [f"{name}:{each['KAFKA_LOG_DIRS']}"] for name, each in BROKERS.items()
    }
    assert set(COMPOSE["volumes"]) == set(SERVICES) - set(of_role("gateway")) - {"balancer"}


def test_four_data_nodes_are_in_three_failure_domains_one_for_each_copy() -> None:
    nodes = [environment(each) for each in of_role("datanode").values()]
    assert [each["BUCKETLOG_NODE"] for each in nodes] == list(of_role("datanode"))
    domains = {each["BUCKETLOG_FAILURE_DOMAIN"] for each in nodes}
    assert {environment(each)["BUCKETLOG_COPIES"] for each in of_role("processor").values()} == {str(len(domains))} == {"3"}


def test_no_secret_is_written_down_and_each_role_gets_only_its_own() -> None:
    for service in SERVICES.values():
        for name, value in environment(service).items():
            required = REQUIRED.fullmatch(value)
            assert (required is not None and required[1] == name) == bool(SECRET.search(name)), name
    with_keys = {name for name, each in SERVICES.items() if "BUCKETLOG_SECRET_ACCESS_KEY" in environment(each)}
    assert with_keys == set(of_role("gateway"))


def test_brokers_are_set_as_the_docs_advise() -> None:
    advice = (ROOT / "docs" / "OPERATING.md").read_text()
    for number, (name, broker) in enumerate(BROKERS.items(), 1):
        assert broker["KAFKA_NODE_ID"] == str(number)
        assert broker["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{name}:9092"
        assert f"{number}@{name}:9093" in broker["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",")
        assert broker["KAFKA_DEFAULT_REPLICATION_FACTOR"] == broker["KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR"] == "3"
        assert broker["KAFKA_MIN_INSYNC_REPLICAS"] == "2"
        assert broker["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == broker["KAFKA_UNCLEAN_LEADER_ELECTION_ENABLE"] == "false"
        assert f"`broker.session.timeout.ms={broker['KAFKA_BROKER_SESSION_TIMEOUT_MS']}`" in advice
        assert f"`broker.heartbeat.interval.ms={broker['KAFKA_BROKER_HEARTBEAT_INTERVAL_MS']}`" in advice
    assert len({each["CLUSTER_ID"] for each in BROKERS.values()}) == 1


def test_the_brokers_are_those_that_the_tests_run_on() -> None:
    (version,) = {SERVICES[name]["image"].partition(":")[2] for name in BROKERS}
    assert f"<version>{version}</version>" in (ROOT / "tests" / "kafka" / "pom.xml").read_text()


def test_the_balancer_knows_every_gateway_and_alone_is_published_on_loopback() -> None:
    servers = re.findall(r"^    server (\S+) (\S+)$", (DOCKER / "haproxy.cfg").read_text(), re.MULTILINE)
    assert servers == [(name, f"{name}:{PORTS['gateway']}") for name in of_role("gateway")]
    assert {name: each["ports"] for name, each in SERVICES.items() if "ports" in each} == {
        "balancer": ["127.0.0.1:9000:9000"]
    }


def test_every_service_restarts_and_is_waited_for_until_it_is_healthy() -> None:
    assert {each["restart"] for each in SERVICES.values()} == {"unless-stopped"}
    waits = {name: set(each.get("depends_on", {})) for name, each in SERVICES.items()}
    assert {wait["condition"] for each in SERVICES.values() for wait in each.get("depends_on", {}).values()} == {
        "service_healthy"
    }
    assert waits["balancer"] == set(of_role("gateway"))
    behind = set(BROKERS) | set(of_role("datanode")) | set(of_role("processor"))
    assert all(waits[name] == behind for name in of_role("gateway"))
    assert all(waits[name] == set(BROKERS) for name in behind - set(BROKERS))


def test_one_service_builds_the_image_that_all_run() -> None:
    assert [name for name, each in ROLES.items() if "build" in each] == ["gateway1"]
    assert {each["pull_policy"] for name, each in ROLES.items() if name != "gateway1"} == {"never"}
    build = SERVICES["gateway1"]["build"]
    assert (DOCKER / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_the_image_is_built_from_what_is_packaged_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {each.rstrip("*") for each in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    files = {project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml", "requirements.lock"}
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    assert {each[1:] for each in lines if each.startswith("!")} == packages | files
