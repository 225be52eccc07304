"""The dashboard over a whole installation: its replicas' metrics through Ray, its exporter, a real Prometheus beside it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.metrics import METRICS, MetricType
from monitoring.dashboard import dashboard, expressions
from monitoring.prometheus import targets_path
from tests.installation import Running
from tests.monitoring.running_prometheus import Prometheus, running

pytestmark = [pytest.mark.installation, pytest.mark.engines]

RARE = {
    "offerloop_degraded_total",
    "offerloop_degraded_decisions_total",
    "offerloop_failed_decisions_total",
    "offerloop_quarantined_total",
    "offerloop_duplicates_total",
    "offerloop_shadow_scored_total",
    "offerloop_scorer_compiled",
}
"""Said only once something of the kind has happened. So are refused releases."""

ENDS = {MetricType.COUNTER: ("",), MetricType.GAUGE: ("",), MetricType.HISTOGRAM: ("_bucket", "_count", "_sum")}


def test_every_query_has_an_answer_and_every_metric_its_name(installation: Running, free_port: Callable[[], int], tmp_path: Path) -> None:
    use_case = installation.settings.use_cases[0]
    configuration = targets_path(installation.layout).with_name("prometheus.yml")

    def answered(prometheus: Prometheus) -> bool:
        """A little traffic until Prometheus has seen everything grow."""
        with installation.client() as client:
            for number in range(20):
                client.decide(use_case, f"e{number}")
        silent = [title for title, expression in expressions(dashboard()) if not prometheus.query(expression)]
        print("no answer yet:", silent)
        return not silent

    with running(configuration, tmp_path, free_port()) as prometheus:
        prometheus.until(lambda asked: len(asked.query("up == 1")) == 2)
        prometheus.until(answered)
        names = set(prometheus.ask("label/__name__/values"))
    seen = {metric.name for metric in METRICS if names & {metric.series, f"{metric.series}_bucket"}}
    missing = {metric.name for metric in METRICS} - seen
    assert missing <= RARE | {"offerloop_releases_refused_total", "offerloop_accepted_total"}
    declared = {f"{metric.series}{end}" for metric in METRICS for end in ENDS[metric.type]}
    assert {name for name in names if re.match(r"(ray_)?offerloop_", name)} <= declared
