"""What each part of a store tells of itself, in Prometheus's form. docs/OPERATING.md lists all names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from bucketlog.metrics.families import counter, gauge
from bucketlog.status import conditions
from gateway.tally import BOUNDS_S, Tally
from processors.machine.membership import held_back
from topics.placement import Placement, State
from topics.spec import TopicPartition

if TYPE_CHECKING:  # a role has its own part alone
    from bucketlog.audit import Auditor
    from bucketlog.metrics.ends import Ends
    from datanode.service import NodeService
    from gateway.submit import Commander
    from processors.replica import Replica
    from processors.runtime import PartitionRuntime
    from topics.scrub import LogScrub


class GatewayMetrics(Collector):
    def __init__(self, tally: Tally, commander: Commander) -> None:
        self._tally = tally
        self._commander = commander

    def collect(self) -> Iterator[Metric]:
        tally = self._tally
        answers = [((name or "none", status), count) for (name, status), count in tally.answers.items()]
        yield counter("requests", "Requests of S3 that were answered.", ["operation", "status"], answers)
        yield self._durations()
        yield counter("received_bytes", "Of bodies of requests.", [], [((), tally.received_bytes)])
        yield counter("sent_bytes", "Of bodies of answers.", [], [((), tally.sent_bytes)])
        yield gauge("commands_waiting", "Requests that wait for a reply.", [], [((), self._commander.waiting)])

    def _durations(self) -> Metric:
        name, what = "bucketlog_request_seconds", "From a request's head to its answer's last byte."
        family = HistogramMetricFamily(name, what, labels=["operation"])
        for operation, found in self._tally.durations.items():
            bounds = [*map(str, BOUNDS_S), "+Inf"]
            buckets = list(zip(bounds, accumulate(found.counts), strict=True))
            family.add_metric([operation or "none"], buckets, found.sum_s)
        return family


class LogMetrics(Collector):
    """Of the embedded log."""

    def __init__(self, scrub: LogScrub) -> None:
        self._scrub = scrub

    def collect(self) -> Iterator[Metric]:
        damaged, verified = [((), len(self._scrub.damaged))], [((), self._scrub.verified)]
        yield gauge("log_damaged_files", "Of the log, of which no copy is whole.", [], damaged)
        yield counter("log_scrubbed_files", "Of the log that were read from all disks, and are whole.", [], verified)


class PartitionMetrics(Collector):
    """Of an owner, or of a follower that may become one."""

    def __init__(
        self,
        replicas: Mapping[int, Replica],
        runtimes: Callable[[], Mapping[int, PartitionRuntime]],
        is_held: Callable[[int], bool],
        ends: Ends,
    ) -> None:
        self._replicas = replicas
        self._runtimes = runtimes
        self._is_held = is_held
        self._ends = ends

    def collect(self) -> Iterator[Metric]:
        label, owned = ["partition"], self._runtimes()
        counts = {(number,): replica.counts for number, replica in self._replicas.items()}
        held = [((number,), number in owned and self._is_held(number)) for number in self._replicas]
        yield gauge("partition_held", "Whether this process answers for the partition.", label, held)
        waiting = [((number,), self._lag("commands", number, each.decided_below)) for number, each in owned.items()]
        yield gauge("partition_lag_records", "Commands that wait for the owner.", label, waiting)
        behind = [((number,), self._lag("events", number, each.meta.offset)) for number, each in self._replicas.items()]
        yield gauge("view_lag_records", "Events that the view does not have.", label, behind)
        claims = [(key, each.claims) for key, each in counts.items()]
        yield counter("partition_claims", "How often this process claimed the partition.", label, claims)
        batches = [(key, each.batches) for key, each in counts.items()]
        yield counter("decided_batches", "Batches of commands.", label, batches)
        commands = [(key, each.commands) for key, each in counts.items()]
        yield counter("decided_commands", "Commands in these batches.", label, commands)
        events = [(key, each.events) for key, each in counts.items()]
        yield counter("decided_events", "Events that came of them.", label, events)

    def _lag(self, topic: str, number: int, position: int) -> int | None:
        return self._ends.lag(TopicPartition(topic, number), position)


class ClusterMetrics(Collector):
    """Of who judges data nodes: of the others there is none, so that sums are right."""

    def __init__(
        self,
        placement: Callable[[], Placement | None],
        behind: Callable[[], Mapping[str, Mapping[int, int]]],
        clocks_off_s: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        """`behind`: node → group → blobs that it is to have and does not, yet. `clocks_off_s`: node → its clock's lead."""
        self._placement = placement
        self._behind = behind
        self._clocks_off_s = clocks_off_s

    def collect(self) -> Iterator[Metric]:
        placement = self._placement()
        if placement is None:
            return
        states = Counter(node.state for node in placement.nodes.values())
        yield gauge("data_nodes", "By state.", ["state"], [((each,), states[each]) for each in State])
        held = [node for node in placement.nodes.values() if node.state is State.DOWN and held_back(placement, node)]
        yield gauge("data_nodes_held_back", "Down, and not to go out by themselves.", [], [((), len(held))])
        yield gauge("cluster_paused", "No data node goes out by itself.", [], [((), placement.brakes.is_paused)])
        off = [((node,), off_s) for node, off_s in self._clocks_off_s().items()]
        yield gauge("data_node_clock_off_seconds", "Ahead of the log's clock.", ["node"], off)
        groups = [((condition,), len(numbers)) for condition, numbers in conditions(placement).items()]
        yield gauge("groups", "Replication groups, by condition.", ["condition"], groups)
        behind = sum(sum(groups.values()) for node, groups in self._behind().items() if node in placement.nodes)
        yield gauge("blobs_under_replicated", "That nodes are to have and lack, yet.", [], [((), behind)])
        yield gauge("placement_epoch", "Of the map of data nodes.", [], [((), placement.epoch)])


class AuditMetrics(Collector):
    """Of the partitions that this process owns."""

    def __init__(self, auditor: Auditor) -> None:
        self._auditor = auditor

    def collect(self) -> Iterator[Metric]:
        audit = self._auditor
        yield counter("audited_blobs", "That are with the nodes that are to have them.", [], [((), audit.verified)])
        yield counter("audit_missing_blobs", "At one holder or more: fetched anew.", [], [((), audit.missing)])
        yield gauge("audit_lost_blobs", "That are referred to, and no holder has them.", [], [((), len(audit.lost))])
        if (last := audit.last_pass()) is not None:
            yield gauge("audit_pass_end_seconds", "When the last pass over all ended.", [], [((), last.ended_ms / 1000)])
            yield gauge("audit_pass_blobs", "That it asked for.", [], [((), last.blobs)])
            yield gauge("audit_pass_missing_blobs", "Of these, at one holder or more.", [], [((), last.missing)])


class NodeMetrics(Collector):
    """Of the data nodes of this process."""

    def __init__(self, nodes: Sequence[NodeService], ends: Ends) -> None:
        self._nodes = nodes
        self._ends = ends

    def collect(self) -> Iterator[Metric]:
        yield from self._groups()
        yield from self._volumes()
        own = [((node.own.name,), node) for node in self._nodes]
        fetched = [(key, node.fetch.fetched_bytes) for key, node in own]
        yield counter("fetched_bytes", "Of blobs that came from other data nodes.", ["node"], fetched)
        repaired = [(key, node.repaired) for key, node in own]
        yield counter("repaired_blobs", "That were damaged here and are whole again.", ["node"], repaired)
        lost = [(key, len(node.beyond_repair)) for key, node in own]
        yield gauge("blobs_beyond_repair", "That are damaged here, and nobody else has them.", ["node"], lost)

    def _groups(self) -> Iterator[Metric]:
        labels = ["node", "group"]
        replicas = [((node.own.name, group), each) for node in self._nodes for group, each in node.member.replicas.items()]
        lags = [(key, self._ends.lag(TopicPartition("writes", each.group), each.position)) for key, each in replicas]
        yield gauge("group_lag_records", "Of `writes` that were not consumed yet.", labels, lags)
        wanted = [(key, each.wanted) for key, each in replicas]
        yield gauge("group_wanted_blobs", "That were announced and have to be fetched.", labels, wanted)
        held = [(key, each.held_s) for key, each in replicas]
        yield gauge("group_held_seconds", "For which one blob that nobody gives has kept the group's log.", labels, held)
        copies = [((node.own.name, group), each) for node in self._nodes for group, each in node.member.copies.items()]
        remaining = [(key, each.remaining) for key, each in copies]
        yield gauge("group_copying_blobs", "Of a copy under way: blobs of the page at hand.", labels, remaining)

    def _volumes(self) -> Iterator[Metric]:
        usages = [((node.own.name,), node.store.usage()) for node in self._nodes]
        label = ["node"]
        yield gauge("volumes", "Files with blobs.", label, [(key, each.volumes) for key, each in usages])
        live = [(key, each.live_bytes) for key, each in usages]
        yield gauge("volume_live_bytes", "Of blobs that are referred to.", label, live)
        garbage = [(key, each.garbage_bytes) for key, each in usages]
        yield gauge("volume_garbage_bytes", "That compaction will give back.", label, garbage)
        yield gauge(
            "disk_free_bytes", "That may still be written.", label, [(key, each.free_bytes) for key, each in usages]
        )
        full = [((node.own.name,), node.store.is_read_only) for node in self._nodes]
        yield gauge("read_only", "Whether the disk is too full to take more.", label, full)
