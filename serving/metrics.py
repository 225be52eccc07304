"""Counting what replicas do: kept in plain numbers, handed to Ray's metrics about once a second. `contracts.metrics` declares the names."""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable
from math import inf
from typing import Any, TypeAlias

from contracts.metrics import Metric, MetricType

Labels: TypeAlias = tuple[str, ...]
Exporter: TypeAlias = Callable[[Metric, Labels, float, int], None]
"""Takes a metric, its label values, a value (of a counter: its growth) and how often it was observed."""

_Key: TypeAlias = tuple[str, Labels]


class Metrics:
    """Numbers since the last `flush`, and totals since the start. Cheap to add to, from any thread."""

    def __init__(self, export: Exporter | None = None) -> None:
        self._export = export
        self._lock = threading.Lock()
        self._known: dict[str, Metric] = {}
        self._growth: defaultdict[_Key, float] = defaultdict(float)
        self._gauges: dict[_Key, float] = {}
        self._observed: defaultdict[_Key, dict[int, tuple[int, float]]] = defaultdict(dict)
        self._totals: defaultdict[_Key, float] = defaultdict(float)

    def add(self, metric: Metric, *labels: str, value: float = 1.0) -> None:
        """Add to a counter; labels are values in their declared order."""
        with self._lock:
            self._known[metric.name] = metric
            self._growth[metric.name, labels] += value

    def set(self, metric: Metric, *labels: str, value: float) -> None:
        """Set a gauge."""
        with self._lock:
            self._known[metric.name] = metric
            self._gauges[metric.name, labels] = value

    def observe(self, metric: Metric, *labels: str, value: float) -> None:
        """Put one value into a histogram."""
        position = bisect_left(metric.buckets, value)
        with self._lock:
            self._known[metric.name] = metric
            buckets = self._observed[metric.name, labels]
            count, total = buckets.get(position, (0, 0.0))
            buckets[position] = (count + 1, total + value)

    def flush(self) -> None:
        """Hand everything gathered to the exporter, and add it to the totals."""
        with self._lock:
            growth, self._growth = self._growth, defaultdict(float)
            observed, self._observed = self._observed, defaultdict(dict)
            gauges = dict(self._gauges)
        for (name, labels), value in growth.items():
            self._totals[name, labels] += value
            self._give(name, labels, value, 1)
        for (name, labels), value in gauges.items():
            self._totals[name, labels] = value
            self._give(name, labels, value, 1)
        for (name, labels), buckets in observed.items():
            edges = (*self._known[name].buckets, inf)
            for position, (count, total) in buckets.items():
                self._totals[name, labels] += count
                self._give(name, labels, min(total / count, edges[position]), count)

    def totals(self, metric: Metric) -> dict[Labels, float]:
        """Totals of one metric by label values (of a histogram: how many values), all that was gathered included."""
        self.flush()
        return {labels: value for (name, labels), value in self._totals.items() if name == metric.name}

    def _give(self, name: str, labels: Labels, value: float, count: int) -> None:
        if self._export is not None:
            self._export(self._known[name], labels, value, count)


def ray_exporter() -> Exporter:
    """An exporter to `ray.util.metrics`, for use in a Ray worker.

    A histogram is handed on bucket by bucket, each value as its bucket's mean: counts and sum stay exact.
    """
    import ray.util.metrics as ray_metrics

    made: dict[str, Any] = {}

    def make(metric: Metric) -> Any:
        match metric.type:
            case MetricType.COUNTER:
                return ray_metrics.Counter(metric.name, metric.help, metric.labels)
            case MetricType.GAUGE:
                return ray_metrics.Gauge(metric.name, metric.help, metric.labels)
            case MetricType.HISTOGRAM:
                return ray_metrics.Histogram(metric.name, metric.help, list(metric.buckets), metric.labels)

    def export(metric: Metric, labels: Labels, value: float, count: int) -> None:
        if metric.name not in made:
            made[metric.name] = make(metric)
        target = made[metric.name]
        tags = dict(zip(metric.labels, labels, strict=True))
        match metric.type:
            case MetricType.COUNTER:
                if value > 0:
                    target.inc(value, tags=tags)
            case MetricType.GAUGE:
                target.set(value, tags=tags)
            case MetricType.HISTOGRAM:
                for _ in range(count):
                    target.observe(value, tags=tags)

    return export


def flush_every(metrics: Metrics, seconds: float, stop: threading.Event) -> threading.Thread:
    """Flush from a thread of its own until `stop` is set, and once more at the end."""

    def run() -> None:
        while not stop.wait(seconds):
            metrics.flush()
        metrics.flush()

    thread = threading.Thread(target=run, name="metrics", daemon=True)
    thread.start()
    return thread
