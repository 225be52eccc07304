"""What a scrape finds, before anything happened and after."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from contracts.clock import DAY_US, HOUR_US, Clock
from contracts.metrics import BOUNDS, LIMITS, METRICS, SIZES, STEP_NEEDS, VERDICTS, Source
from monitoring.exporter import InstallationCollector, registry
from monitoring.measure import measure
from monitoring.services import services_up
from releases.inbox import Inbox
from releases.ledger import Act, Ledger
from releases.stages import register, reject, start
from storage.layout import Layout
from storage.measures import ExperimentMeasure, Interval, ShadowMeasure, StateMeasure, write, write_states
from storage.rollouts import CanaryMeasure, LimitMeasure, RolloutMeasure, write_rollouts
from tests.monitoring.conftest import NOON, Shop
from use_cases.definition import UseCase

NOW = 2 * DAY_US + NOON + HOUR_US
EXPORTED = {metric.name for metric in METRICS if metric.source is Source.EXPORTER}


@pytest.fixture
def inbox(layout: Layout) -> Iterator[Inbox]:
    opened = Inbox(layout.ledger)
    yield opened
    opened.close()


@pytest.fixture
def scrape(layout: Layout, ledger: Ledger, inbox: Inbox) -> CollectorRegistry:
    stopped = Clock(origin_us=NOW, started_us=0, scale=0)
    return registry(InstallationCollector(layout, ("shop",), stopped, ledger, inbox, lambda: {"ray": True, "mlflow": False}))


def test_every_metric_is_there_before_anything_happened(scrape: CollectorRegistry) -> None:
    found = {family.name: family.samples for family in scrape.collect()}
    assert set(found) == EXPORTED
    assert all(found.values()), [name for name, samples in found.items() if not samples]


def test_sizes_of_feature_states_are_shown(scrape: CollectorRegistry, layout: Layout) -> None:
    write_states(layout, {"shop": StateMeasure(3, 900, 250, 380, 400)})
    assert scrape.get_sample_value("offerloop_states", {"use_case": "shop"}) == 3.0
    sizes = {name: scrape.get_sample_value("offerloop_state_bytes", {"use_case": "shop", "size": name}) for name in SIZES}
    assert sizes == {"total": 900.0, "median": 250.0, "p99": 380.0, "largest": 400.0}


def test_measurements_ledger_inbox_and_services_are_shown(
    scrape: CollectorRegistry, busy: Shop, layout: Layout, shop: UseCase, ledger: Ledger, inbox: Inbox
) -> None:
    start(ledger, "shop", "r-1", "ab" * 32, 0.2, Act("test", 0, "for the test"))
    inbox.trigger("train", "schedule", "monday", {}, at=0)
    write(layout, measure(layout, {"shop": shop}, ledger, NOW))

    def value(metric: str, **labels: str) -> float | None:
        return scrape.get_sample_value(f"offerloop_{metric}", labels)

    champion = {"use_case": "shop", "arm": "champion", "release_id": "r-1"}
    assert value("reward_per_decision", **champion, bound="estimate") == pytest.approx(2.0)
    assert value("gain_over_control", **champion, bound="estimate") == pytest.approx(1.5)
    assert value("matured_decisions", **champion) == 3.0
    assert value("traffic_share", **champion) == pytest.approx(0.8)
    assert value("traffic_share", use_case="shop", arm="control", release_id="r-1") == pytest.approx(0.2)
    assert math.isnan(value("forecast_per_decision", use_case="shop", release_id="r-1", bound="low") or 0.0)
    assert value("plan_version", use_case="shop") == 1.0
    assert value("releases", use_case="shop", stage="champion") == 1.0
    assert value("releases", use_case="shop", stage="refused") == 0.0
    assert value("ledger_newest_id", use_case="shop") == float(ledger.rows("shop", limit=1)[0].id)
    assert value("inbox_rows", status="waiting") == 1.0
    assert value("inbox_rows", status="failed") == 0.0
    assert value("service_up", service="ray") == 1.0
    assert value("service_up", service="mlflow") == 0.0
    assert value("skew_rows", use_case="shop", result="differing") == 0.0
    assert value("table_age_seconds", use_case="shop", table="decisions") == 3_600.0
    assert (value("monitor_age_seconds") or -1.0) >= 0.0


def test_live_comparisons_and_the_shadow_are_shown(scrape: CollectorRegistry, layout: Layout, shop: UseCase, ledger: Ledger) -> None:
    compared = ExperimentMeasure(
        "challenger", "r-2", Interval(0.5, 0.1, 0.9), "ship", "it earns more", 0.4, 0.7, {"decisions": "held", "none": "breached"}
    )
    layout.root.mkdir(exist_ok=True)
    measured = measure(layout, {"shop": shop}, ledger, NOW)
    shown = msgspec.structs.replace(
        measured.use_cases["shop"], experiments=(compared,), shadow=ShadowMeasure("r-3", Interval(-1.0, -2.0, None), 0.8)
    )
    write(layout, msgspec.structs.replace(measured, use_cases={"shop": shown}))

    def value(name: str, **labels: str) -> float | None:
        return scrape.get_sample_value(f"offerloop_{name}", {"use_case": "shop", **labels})

    bounds = [value("experiment_gain", arm="challenger", release_id="r-2", bound=bound) for bound in BOUNDS]
    assert bounds == [0.5, 0.1, 0.9]
    verdicts = {verdict: value("experiment_verdict", arm="challenger", verdict=verdict) for verdict in VERDICTS}
    assert verdicts == {"ship": 1.0, "stop": 0.0, "keep running": 0.0}
    assert (value("experiment_progress", arm="challenger"), value("sample_ratio_probability", arm="challenger")) == (0.7, 0.4)
    assert [value("guard_rail", arm="challenger", metric=metric) for metric in ("decisions", "none")] == [1.0, -1.0]
    assert value("shadow_gain", release_id="r-3", bound="low") == -2.0
    assert math.isnan(value("shadow_gain", release_id="r-3", bound="high") or 0.0)


def test_how_far_a_roll_out_is_is_shown(scrape: CollectorRegistry, layout: Layout, ledger: Ledger) -> None:
    def value(name: str, **labels: str) -> float | None:
        return scrape.get_sample_value(f"offerloop_{name}", {"use_case": "shop", **labels})

    assert (value("canary_step"), value("sign_off_waiting"), value("canary_stops", actor="flow guard")) == (0.0, 0.0, 0.0)
    limits = (LimitMeasure("failed", 0.02, 0.0, 0.001, 0.005, False, ""), LimitMeasure("degraded", 0.0, 0.0, 0.0, 0.0, False, ""))
    canary = CanaryMeasure("r-2", 0.05, 1, 2, NOW - HOUR_US, NOW + HOUR_US, 30, 40, 1, 0, limits)
    write_rollouts(layout, {"shop": RolloutMeasure(canary, ("r-3", "r-4"))})
    for release_id, actor, reason in (("r-5", "flow guard", "stopped as canary at 5%: it failed"), ("r-6", "flow train", "no gain")):
        register(ledger, "shop", release_id, release_id, Act("test", 0, "trained"))
        reject(ledger, "shop", release_id, Act(actor, 0, reason))

    assert (value("canary_step"), value("sign_off_waiting"), value("canary_stops", actor="flow guard")) == (1.0, 2.0, 1.0)
    assert [value("canary_progress", release_id="r-2", what=what) for what in STEP_NEEDS] == [0.5, 0.75]
    shown = {limit: value("canary_limit", release_id="r-2", limit=limit) for limit in LIMITS}
    assert shown["failed"] == pytest.approx(0.2) and math.isnan(shown["degraded"] or 0.0) and math.isnan(shown["latency"] or 0.0)


def test_what_runs_is_what_a_living_supervisor_says(layout: Layout) -> None:
    assert services_up(layout) == {}
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    services = [{"name": "serve", "stage": "ready", "pid": 0}, {"name": "prefect", "stage": "broken", "pid": 7}]
    layout.run.mkdir(parents=True)
    for supervisor, up in ((os.getpid(), True), (ended.pid, False)):
        (layout.run / "state.json").write_bytes(msgspec.json.encode({"pid": supervisor, "started_s": 1.5, "services": services}))
        assert services_up(layout) == {"supervisor": up, "serve": up, "prefect": False}
