"""A real Prometheus scrapes a real exporter, and is asked every query of the dashboard."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from contracts.clock import Clock
from contracts.metrics import METRICS, Metric, MetricType, Source
from monitoring.dashboard import CHANGED, dashboard, expressions
from monitoring.exporter import InstallationCollector, registry
from monitoring.measure import measure
from monitoring.prometheus import targets_path, write_configuration, write_targets
from releases.inbox import Inbox
from releases.ledger import Act, Ledger
from releases.stages import start
from storage.layout import Layout
from storage.measures import write
from tests.monitoring.conftest import Shop
from tests.monitoring.running_prometheus import Prometheus, running
from tests.monitoring.test_exporter import NOW
from use_cases.definition import UseCase

pytestmark = pytest.mark.engines

LABELS = {"use_case": "shop", "arm": "champion", "release_id": "r-1", "route": "decisions", "status": "200"}


def replica_metrics() -> CollectorRegistry:
    """What Ray would show of a replica that made one decision: the declared metrics, by their names in Prometheus."""
    shown = CollectorRegistry()
    kinds: dict[MetricType, Callable[[Metric], Any]] = {
        MetricType.COUNTER: lambda metric: Counter(metric.series, metric.help, metric.labels, registry=shown),
        MetricType.GAUGE: lambda metric: Gauge(metric.series, metric.help, metric.labels, registry=shown),
        MetricType.HISTOGRAM: lambda metric: Histogram(metric.series, metric.help, metric.labels, registry=shown, buckets=metric.buckets),
    }
    for metric in METRICS:
        if metric.source is Source.SERVING:
            child = kinds[metric.type](metric).labels(*(LABELS.get(label, "some") for label in metric.labels))
            child.observe(0.003) if metric.type is MetricType.HISTOGRAM else child.inc()
    return shown


@contextmanager
def serving(shown: CollectorRegistry) -> Iterator[str]:
    server, thread = start_http_server(0, "127.0.0.1", shown)
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def prometheus(layout: Layout, free_port: Callable[[], int]) -> Iterator[Prometheus]:
    configuration = write_configuration(layout)
    layout.secrets.mkdir(parents=True)
    layout.metrics_key.write_text("olk_")
    configuration.write_text(configuration.read_text().replace("5s", "1s"))
    with running(configuration, layout.root, free_port()) as started:
        yield started


def test_every_query_of_the_dashboard_has_an_answer(
    prometheus: Prometheus, busy: Shop, layout: Layout, shop: UseCase, ledger: Ledger
) -> None:
    start(ledger, "shop", "r-1", "ab" * 32, 0.2, Act("test", 0, "for the test"))
    write(layout, measure(layout, {"shop": shop}, ledger, NOW))
    inbox = Inbox(layout.ledger)
    clock = Clock(origin_us=NOW, started_us=0, scale=0)
    exporter = registry(InstallationCollector(layout, ("shop",), clock, ledger, inbox, lambda: {"ray": True}))
    with serving(exporter) as own, serving(replica_metrics()) as replica:
        write_targets(layout, {"exporter": own, "serving": replica})
        prometheus.until(lambda asked: len(asked.query("min_over_time(up[3s]) == 1")) == 2)
        prometheus.until(lambda asked: len(asked.query("count_over_time(ray_offerloop_decisions_total[30s]) >= 3")) == 1)
        answers = {(title, expression): prometheus.query(expression) for title, expression in expressions(dashboard())}
        prometheus.query(CHANGED)
    inbox.close()
    assert [asked for asked, answer in answers.items() if not answer] == []


def test_queries_that_count_answer_zero_before_any_replica_was_asked(prometheus: Prometheus, layout: Layout, ledger: Ledger) -> None:
    inbox = Inbox(layout.ledger)
    exporter = registry(InstallationCollector(layout, ("shop",), Clock(), ledger, inbox, lambda: {"ray": True}))
    with serving(exporter) as own:
        write_targets(layout, {"exporter": own})
        prometheus.until(lambda asked: bool(asked.query("offerloop_plan_version")))
        silent = {title for title, expression in expressions(dashboard()) if not prometheus.query(expression)}
    inbox.close()
    assert silent == {"Slow answers", "Latency of a decision", "Age of features", "Latency by arm"}


def test_targets_are_written_for_prometheus_to_find(layout: Layout) -> None:
    write_targets(layout, {"serving": "127.0.0.1:2", "exporter": "127.0.0.1:1"})
    assert json.loads(targets_path(layout).read_text()) == [
        {"targets": ["127.0.0.1:1"], "labels": {"job": "exporter"}},
        {"targets": ["127.0.0.1:2"], "labels": {"job": "serving"}},
    ]
    assert str(targets_path(layout)) in Path(write_configuration(layout)).read_text()
