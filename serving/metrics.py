"""What the decision service counts: one declared table, kept in plain numbers, handed to Ray's metrics about once a second.

Ray exports a counter `offerloop_x_total` as `ray_offerloop_x_total`, a gauge or histogram under its name with `ray_` before it.
"""

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal

LATENCY_BUCKETS_S = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
AGE_BUCKETS_S = (1.0, 10.0, 60.0, 600.0, 3_600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: its kind, what it says, its labels and, for a histogram, the upper edges of its buckets."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    description: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


METRICS = (
    Metric("offerloop_decisions_total", "counter", "Decisions answered and durable.", ("use_case", "arm", "release", "action")),
    Metric("offerloop_decisions_repeated_total", "counter", "Decisions answered from the log: the id had come before.", ("use_case",)),
    Metric("offerloop_decision_seconds", "histogram", "From the request read to its answer ready, in seconds.", ("use_case",), LATENCY_BUCKETS_S),
    Metric("offerloop_degraded_total", "counter", "Decisions that said of something that it was not as declared.", ("use_case", "reason")),
    Metric("offerloop_missing_features_total", "counter", "Features without a value that took their default.", ("use_case", "feature")),
    Metric("offerloop_feature_age_seconds", "histogram", "Age of the oldest feature that a decision used.", ("use_case",), AGE_BUCKETS_S),
    Metric("offerloop_events_total", "counter", "Events by what became of them.", ("use_case", "result")),
    Metric("offerloop_outcomes_total", "counter", "Outcomes by what became of them.", ("use_case", "result")),
    Metric("offerloop_rewards_total", "counter", "Sum of positive rewards, in the use case's integer unit.", ("use_case", "arm", "release")),
    Metric("offerloop_refunds_total", "counter", "Sum of negative rewards, sign dropped.", ("use_case", "arm", "release")),
    Metric("offerloop_shadow_total", "counter", "Decisions scored by the release in the shadow, or dropped.", ("use_case", "release", "result")),
    Metric("offerloop_http_responses_total", "counter", "HTTP responses.", ("route", "status")),
    Metric("offerloop_hooks_total", "counter", "Webhooks by what became of them.", ("hook", "result")),
    Metric("offerloop_plan_version", "gauge", "Version of the traffic plan that serves.", ("use_case",)),
    Metric("offerloop_release_live", "gauge", "1 for a release that the plan names and this replica holds.", ("use_case", "release", "arm")),
    Metric("offerloop_bundles_refused_total", "counter", "Bundles that were not taken; the old release serves on.", ("use_case",)),
    Metric("offerloop_store_failures_total", "counter", "Requests answered 503 because a record could not be made durable.", ("use_case",)),
)
"""Results of events and outcomes: accepted, duplicate, quarantined."""

_BY_NAME = {metric.name: metric for metric in METRICS}

Labels = tuple[str, ...]
Exporter = Callable[[Metric, Labels, float, int], None]
"""Takes a metric, its label values, a value (a counter's growth) and how often it was observed."""


class Metrics:
    """Numbers since the last `flush`, and the totals since the start. Cheap to add to, from any thread.

    A lost update under two threads is not possible: each add holds the lock for one dictionary operation.
    """

    def __init__(self, export: Exporter | None = None) -> None:
        self._export = export
        self._lock = threading.Lock()
        self._growth: defaultdict[tuple[str, Labels], float] = defaultdict(float)
        self._gauges: dict[tuple[str, Labels], float] = {}
        self._observed: defaultdict[tuple[str, Labels], dict[int, tuple[int, float]]] = defaultdict(dict)
        self._totals: defaultdict[tuple[str, Labels], float] = defaultdict(float)

    def add(self, name: str, labels: Labels, value: float = 1.0) -> None:
        """Add to a counter; `labels` are values in the order of its declared labels."""
        with self._lock:
            self._growth[name, labels] += value

    def set(self, name: str, labels: Labels, value: float) -> None:
        """Set a gauge."""
        with self._lock:
            self._gauges[name, labels] = value

    def observe(self, name: str, labels: Labels, value: float) -> None:
        """Put one value into a histogram's bucket."""
        position = bisect_left(_BY_NAME[name].buckets, value)
        with self._lock:
            buckets = self._observed[name, labels]
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
            edges = (*_BY_NAME[name].buckets, inf)
            for position, (count, total) in buckets.items():
                self._totals[name, labels] += count
                self._give(name, labels, min(total / count, edges[position]), count)

    def totals(self, name: str) -> dict[Labels, float]:
        """Totals of one metric by label values (a histogram: how many values), everything gathered included."""
        self.flush()
        return {labels: value for (known, labels), value in self._totals.items() if known == name}

    def _give(self, name: str, labels: Labels, value: float, count: int) -> None:
        if self._export is not None:
            self._export(_BY_NAME[name], labels, value, count)


def ray_exporter() -> Exporter:
    """An exporter to `ray.util.metrics`, for use in a Ray worker.

    A histogram is handed on bucket by bucket, each value as its bucket's mean: counts and sum stay exact.
    """
    import ray.util.metrics as ray_metrics

    made: dict[str, Any] = {}

    def make(metric: Metric) -> Any:
        if metric.kind == "counter":
            return ray_metrics.Counter(metric.name, metric.description, metric.labels)
        if metric.kind == "gauge":
            return ray_metrics.Gauge(metric.name, metric.description, metric.labels)
        return ray_metrics.Histogram(metric.name, metric.description, list(metric.buckets), metric.labels)

    def export(metric: Metric, labels: Labels, value: float, count: int) -> None:
        target = made.get(metric.name) or made.setdefault(metric.name, make(metric))
        tags: Mapping[str, str] = dict(zip(metric.labels, labels, strict=True))
        if metric.kind == "counter":
            if value > 0:
                target.inc(value, tags=tags)
        elif metric.kind == "gauge":
            target.set(value, tags=tags)
        else:
            for _ in range(count):
                target.observe(value, tags=tags)

    return export


def flush_every(metrics: Metrics, seconds: float, stop: threading.Event) -> threading.Thread:
    """Flush from a thread of its own until `stop` is set, once more at the end."""

    def run() -> None:
        while not stop.wait(seconds):
            metrics.flush()
        metrics.flush()

    thread = threading.Thread(target=run, name="metrics", daemon=True)
    thread.start()
    return thread
