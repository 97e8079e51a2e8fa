"""The operator's TLS and SASL settings, which have librdkafka's names, in terms that other Kafka clients can be given.

Settings of librdkafka that concern neither (timeouts, buffers) mean nothing to other clients and are passed over. One that
does, and is not known here, is refused: a client that connects with less than was asked for must not start.
"""

import ssl
from collections.abc import Mapping
from typing import NamedTuple

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_PREFIXES = ("security.", "ssl.", "sasl.", "enable.ssl.", "enable.sasl.")
_KNOWN = {
    "security.protocol",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
}


class Security(NamedTuple):
    protocol: str = "PLAINTEXT"
    context: ssl.SSLContext | None = None
    mechanism: str = ""
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        """Without the password."""
        return f"Security({self.protocol}, {self.mechanism}, {self.username!r})"


def security(settings: Mapping[str, str]) -> Security:
    """Raises `ValueError`, one line, for what cannot be done as it was asked for."""
    for name in sorted(settings):
        if name.startswith(_PREFIXES) and name not in _KNOWN:
            raise ValueError(f"kafka_settings: {name} is not supported; known are {', '.join(sorted(_KNOWN))}")
    protocol = settings.get("security.protocol", PROTOCOLS[0]).upper()
    if protocol not in PROTOCOLS:
        raise ValueError(f"kafka_settings: security.protocol {protocol} is none of {', '.join(PROTOCOLS)}")
    context = _context(settings) if protocol.endswith("SSL") else None
    if not protocol.startswith("SASL"):
        return Security(protocol, context)
    mechanism = settings.get("sasl.mechanism", settings.get("sasl.mechanisms", "")).upper()
    if mechanism not in MECHANISMS:
        raise ValueError(f"kafka_settings: sasl.mechanism {mechanism!r} is none of {', '.join(MECHANISMS)}")
    username, password = settings.get("sasl.username", ""), settings.get("sasl.password", "")
    if not (username and password):
        raise ValueError("kafka_settings: sasl.username and sasl.password are both needed")
    return Security(protocol, context, mechanism, username, password)


def _context(settings: Mapping[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.get("ssl.ca.location"), cadata=settings.get("ssl.ca.pem"))
        if "ssl.certificate.location" in settings:
            context.load_cert_chain(
                settings["ssl.certificate.location"],
                settings.get("ssl.key.location"),
                settings.get("ssl.key.password", ""),  # without one OpenSSL would ask at the terminal
            )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ValueError(f"kafka_settings: the certificates cannot be used: {error}") from None
    context.check_hostname = settings.get("ssl.endpoint.identification.algorithm", "https").lower() != "none"
    if settings.get("enable.ssl.certificate.verification", "true").lower() == "false":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
