"""The operator's settings of librdkafka, as other clients get them."""

import ssl
import subprocess
from pathlib import Path

import pytest

from topics.kafka.security import Security, security

SASL = {"sasl.username": "store", "sasl.password": "open sesame"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=broker", "-days", "1"]
    subprocess.run(["openssl", "req", "-x509", *made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return str(certificate), str(key)


def test_without_settings_nothing_is_encrypted() -> None:
    assert security({}) == Security("PLAINTEXT", None)
    assert security({"security.protocol": "plaintext", "socket.timeout.ms": "1000"}) == Security("PLAINTEXT", None)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("name", ["sasl.mechanism", "sasl.mechanisms"])
def test_a_password_without_encryption(mechanism: str, name: str) -> None:
    found = security({"security.protocol": "SASL_PLAINTEXT", name: mechanism, **SASL})
    assert found == Security("SASL_PLAINTEXT", None, mechanism, "store", "open sesame")
    assert "sesame" not in repr(found)


def test_tls_trusts_only_the_authority_that_is_named(pair: tuple[str, str]) -> None:
    found = security({"security.protocol": "ssl", "ssl.ca.location": pair[0]})
    assert (found.protocol, found.mechanism) == ("SSL", "")
    assert found.context is not None
    assert found.context.verify_mode == ssl.CERT_REQUIRED
    assert found.context.check_hostname
    assert len(found.context.get_ca_certs()) == 1


def test_an_authority_may_stand_in_the_settings(pair: tuple[str, str]) -> None:
    found = security({"security.protocol": "SSL", "ssl.ca.pem": Path(pair[0]).read_text()})
    assert found.context is not None
    assert len(found.context.get_ca_certs()) == 1


def test_tls_with_a_certificate_and_a_password(pair: tuple[str, str]) -> None:
    tls = {"ssl.ca.location": pair[0], "ssl.certificate.location": pair[0], "ssl.key.location": pair[1]}
    found = security({"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", **tls, **SASL})
    assert (found.protocol, found.mechanism, found.password) == ("SASL_SSL", "SCRAM-SHA-512", "open sesame")
    assert found.context is not None


@pytest.mark.parametrize(
    ("name", "value", "is_checked", "is_named"),
    [
        ("ssl.endpoint.identification.algorithm", "none", True, False),
        ("enable.ssl.certificate.verification", "false", False, False),
        ("enable.ssl.certificate.verification", "true", True, True),
    ],
)
def test_what_the_operator_turns_off_is_off(name: str, value: str, is_checked: bool, is_named: bool) -> None:
    found = security({"security.protocol": "SSL", name: value}).context
    assert found is not None
    assert (found.verify_mode == ssl.CERT_REQUIRED, found.check_hostname) == (is_checked, is_named)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"security.protocol": "TLS"}, "security.protocol TLS is none of"),
        ({"security.protocol": "SSL", "ssl.keystore.location": "x"}, "ssl.keystore.location is not supported"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"}, "'OAUTHBEARER' is none of"),
        ({"security.protocol": "SASL_PLAINTEXT", **SASL}, "sasl.mechanism '' is none of"),
        ({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "a"}, "both needed"),
        ({"security.protocol": "SSL", "ssl.ca.location": "/nowhere"}, "certificates cannot be used"),
        ({"security.protocol": "SSL", "ssl.ca.pem": "nonsense"}, "certificates cannot be used"),
        ({"sasl.oauthbearer.config": "x"}, "sasl.oauthbearer.config is not supported"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(settings: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        security(settings)
    assert len(str(refused.value).splitlines()) == 1
