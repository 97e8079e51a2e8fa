"""How to reach a Kafka cluster, and what every client of it is set to.

What is set here is not to be overridden: acknowledgements by all in-sync replicas, idempotent producers, checked CRCs,
explicit offsets. Everything else (TLS, SASL, timeouts) comes from the operator as librdkafka settings.
"""

import logging
from typing import Any

import msgspec

RECORD_BYTES_MAX = 2 << 20  # `topics.log.VALUE_BYTES_MAX` with its key and Kafka's own framing
DELIVERY_MS = 20_000  # until an append has failed, or its outcome is unknown: longer than a lost broker is missed (9 s)
REQUEST_S = 15.0  # metadata and offsets
log_ = logging.getLogger("kafka")
log_.setLevel(logging.CRITICAL)  # librdkafka tells of each connection that it lost; failures are told by who met them


class KafkaConfig(msgspec.Struct, frozen=True):
    bootstrap: str  # host:port[,…]
    prefix: str = ""  # of the topics' names, so that several stores share a cluster
    replication: int = 3  # of topics that are created here
    min_in_sync: int = 2
    extra: dict[str, str] = {}  # librdkafka settings: security.protocol, sasl.mechanism, …

    def __repr__(self) -> str:
        """`extra` may hold a password."""
        return f"KafkaConfig({self.bootstrap!r}, prefix={self.prefix!r})"

    def client(self) -> dict[str, Any]:
        return {
            "logger": log_,
            "socket.keepalive.enable": True,
            "reconnect.backoff.max.ms": 1_000,
            "topic.metadata.refresh.interval.ms": 30_000,
            **self.extra,
            "bootstrap.servers": self.bootstrap,
        }

    def producer(self) -> dict[str, Any]:
        return self.client() | {
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "message.max.bytes": RECORD_BYTES_MAX,
            "message.timeout.ms": DELIVERY_MS,
            "compression.type": "none",  # payloads are compressed already, if at all
        }

    def consumer(self) -> dict[str, Any]:
        return self.client() | {
            "group.id": "bucketlog-reader",  # librdkafka wants one; offsets are explicit and never committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "check.crcs": True,
            "fetch.wait.max.ms": 20,  # also how long the end of a partition takes to be noticed
            "fetch.queue.backoff.ms": 1,
            "fetch.message.max.bytes": RECORD_BYTES_MAX,
            "queued.max.messages.kbytes": 16 << 10,
        }
