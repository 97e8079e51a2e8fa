"""Metric families in a line each."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

Samples = Iterable[tuple[Sequence[object], float | None]]  # values of the labels, and the metric's; None: not known


def gauge(name: str, what: str, labels: Sequence[str], samples: Samples) -> Metric:
    return _filled(GaugeMetricFamily(f"bucketlog_{name}", what, labels=labels), samples)


def counter(name: str, what: str, labels: Sequence[str], samples: Samples) -> Metric:
    return _filled(CounterMetricFamily(f"bucketlog_{name}", what, labels=labels), samples)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, samples: Samples) -> Metric:
    for values, value in samples:
        if value is not None:
            family.add_metric([str(each) for each in values], value)
    return family
