"""Which metrics each role has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector
from starlette.routing import Route

from bucketlog.metrics.collectors import (
    AuditMetrics,
    ClusterMetrics,
    GatewayMetrics,
    LogMetrics,
    NodeMetrics,
    PartitionMetrics,
)
from bucketlog.metrics.endpoint import metrics_route
from bucketlog.metrics.ends import Ends
from topics.spec import COMMANDS, EVENTS, TopicPartition

if TYPE_CHECKING:  # a role has its own part alone
    from bucketlog.audit import Auditor
    from bucketlog.settings import Settings
    from bucketlog.store import Store
    from datanode.service import NodeService
    from gateway.context import Gateway
    from processors.leases import Leases
    from processors.ownership import Ownership
    from topics.log import Log

_COMMANDS = [TopicPartition("commands", number) for number in range(COMMANDS.partitions)]
_EVENTS = [TopicPartition("events", number) for number in range(EVENTS.partitions)]


def of_gateway(settings: Settings, log: Log, gateway: Gateway) -> Route:
    ends = Ends(log, lambda: _COMMANDS[:1])
    return metrics_route(settings, ends, [GatewayMetrics(gateway.tally, gateway.commander)])


def of_processor(settings: Settings, log: Log, ownership: Ownership, leases: Leases, cluster: Sequence[Collector]) -> Route:
    ends = Ends(log, lambda: [*_COMMANDS, *_EVENTS])
    partitions = PartitionMetrics(ownership.replicas, lambda: ownership.runtimes, leases.is_held, ends)
    return metrics_route(settings, ends, [partitions, *cluster])


def of_data_node(settings: Settings, log: Log, node: NodeService) -> Route:
    ends = Ends(log, lambda: [TopicPartition("writes", group) for group in node.member.replicas])
    return metrics_route(settings, ends, [NodeMetrics([node], ends)])


def of_store(settings: Settings, store: Store, gateway: Gateway, auditor: Auditor) -> Route:
    nodes = list(store.nodes.values())

    def partitions() -> list[TopicPartition]:
        groups = {group for node in nodes for group in node.member.replicas}
        return [*_COMMANDS, *_EVENTS, *(TopicPartition("writes", group) for group in groups)]

    ends = Ends(store.log, partitions)
    is_held = lambda number: store.runtimes[number].is_claimed  # noqa: E731
    collectors = [
        GatewayMetrics(gateway.tally, gateway.commander),
        PartitionMetrics(store.replicas, lambda: store.runtimes, is_held, ends),
        ClusterMetrics(lambda: store.map.current, lambda: {node.own.name: node.behind for node in nodes}),
        NodeMetrics(nodes, ends),
        LogMetrics(store.log_scrub),
        AuditMetrics(auditor),
    ]
    return metrics_route(settings, ends, collectors)
