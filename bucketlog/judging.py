"""Composition of what judges data nodes in a processor: Faust over the control partition's state as it is followed here."""

from collections.abc import MutableMapping

from bucketlog.clock import now_ms
from bucketlog.settings import Settings
from processors.faust_app import FaustConfig, JudgeApp, addresses
from processors.faust_life import FaustLife
from processors.judge import Judge
from processors.liveness import Limits, Liveness
from processors.machine import tables
from processors.ownership import Ownership
from topics.heartbeats import Heard
from topics.kafka.config import KafkaConfig
from topics.kafka.security import security
from topics.log import Log
from topics.secret import ClusterSecret
from topics.sender import CommandSender
from topics.spec import CONTROL_PARTITION


def faust_config(kafka: KafkaConfig, name: str) -> FaustConfig:
    """Raises `ValueError` for addresses, and TLS and SASL settings, that Faust cannot be given."""
    addresses(kafka.bootstrap)
    return FaustConfig(kafka, security(kafka.extra), name)


def judging(settings: Settings, config: FaustConfig, log: Log, secret: ClusterSecret, ownership: Ownership) -> FaustLife:
    """Not started. Any processor may judge, not only the owner of the control partition: each follows it."""
    limits = Limits(int(settings.grace_s * 1000), int(settings.out_s * 1000))
    view = ownership.views[CONTROL_PARTITION]

    def judge(heard: MutableMapping[str, Heard]) -> Judge:
        liveness = Liveness(log.identity, limits, heard)
        return Judge(
            log,
            liveness,
            secret,
            lambda: tables.placement(view),
            CommandSender(log, now_ms),
            settings.copies,
            settings.out_share,
        )

    return FaustLife(lambda: JudgeApp(config, secret, judge), lambda: ownership.is_followed(CONTROL_PARTITION))
