"""The exporter that Prometheus scrapes: measurements, ledger, inbox, services. It runs behind `services.guard`, which asks for a key.

It reads everything anew at each scrape, so it has no state of its own and is never behind.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from contracts.clock import SECOND_US, Clock
from contracts.metrics import (
    BOUNDS,
    CANARY_LIMIT,
    CANARY_PROGRESS,
    CANARY_STEP,
    CANARY_STOPS,
    EXPERIMENT_GAIN,
    EXPERIMENT_PROGRESS,
    EXPERIMENT_VERDICT,
    FORECAST,
    GAIN,
    GUARD_RAIL,
    INBOX_ROWS,
    LEDGER_NEWEST,
    LIMITS,
    MATURED,
    METRICS,
    MONITOR_AGE_SECONDS,
    PLAN_VERSION,
    RELEASES,
    REWARD,
    SAMPLE_RATIO,
    SERVICE_UP,
    SHADOW_GAIN,
    SIGN_OFF_WAITING,
    SIZES,
    SKEW_ROWS,
    STATE_BYTES,
    STATES,
    STEP_NEEDS,
    STOPPERS,
    TABLE_AGE_SECONDS,
    TABLE_ROWS,
    TRAFFIC_SHARE,
    VERDICTS,
    Metric,
    Source,
)
from contracts.settings import Settings
from contracts.traffic import CHALLENGER, CONTROL, Stage, TrafficPlan
from monitoring.services import services_up
from releases.inbox import Inbox
from releases.ledger import Ledger
from storage.installation import open_installation
from storage.layout import Layout
from storage.measures import ExperimentMeasure, Interval, StateMeasure, UseCaseMeasures, read, read_states
from storage.rollouts import CanaryMeasure, RolloutMeasure, read_rollouts

MOST_REFUSALS = 1_000
"""Of a use case, among which canaries that were stopped are counted."""

STOPPED = "stopped as canary"
"""How the ledger's reason begins where a canary was stopped."""

Sample = tuple[Metric, tuple[str, ...], float]
ServicesUp = Callable[[], Mapping[str, bool]]


@dataclass(frozen=True)
class InstallationCollector(Collector):
    """Everything that is known of an installation beside its replicas, read at each scrape.

    Attributes:
        use_cases: the ones that run; each has all its series from the start, NaN or 0 until there is something to say.
        services_up: gives each service and whether it runs.
    """

    layout: Layout
    use_cases: tuple[str, ...]
    clock: Clock
    ledger: Ledger
    inbox: Inbox
    services_up: ServicesUp

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """All metrics of this source, each once."""
        families = {
            metric.name: GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
            for metric in METRICS
            if metric.source is Source.EXPORTER
        }
        for metric, labels, value in self._samples():
            families[metric.name].add_metric(labels, value)
        return families.values()

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: asking would read everything once more."""
        return ()

    def _samples(self) -> Iterator[Sample]:
        for service, up in self.services_up().items():
            yield SERVICE_UP, (service,), float(up)
        for status, rows in self.inbox.counts().items():
            yield INBOX_ROWS, (status,), float(rows)
        measures = read(self.layout)
        yield MONITOR_AGE_SECONDS, (), time.time() - measures.made_s if measures else nan
        states, rollouts = read_states(self.layout), read_rollouts(self.layout)
        for use_case in self.use_cases:
            plan = self.ledger.plan(use_case)
            yield from self._ledger(use_case, plan)
            measured = measures.use_cases.get(use_case) if measures else None
            yield from _measured(use_case, measured, self.clock.now_us(), plan)
            yield from _states(use_case, states.get(use_case))
            yield from _rollout(use_case, rollouts.get(use_case), self.clock.now_us())

    def _ledger(self, use_case: str, plan: TrafficPlan | None) -> Iterator[Sample]:
        newest = self.ledger.rows(use_case, limit=1)
        yield LEDGER_NEWEST, (use_case,), float(newest[0].id if newest else 0)
        yield PLAN_VERSION, (use_case,), float(plan.version if plan else 0)
        yield TRAFFIC_SHARE, (use_case, CONTROL, plan.champion.release_id if plan else ""), plan.control_share if plan else nan
        for arm in plan.arms if plan else ():
            yield TRAFFIC_SHARE, (use_case, arm.name, arm.release_id), (1.0 - plan.control_share) * arm.share if plan else nan
        stages = [release.stage for release in self.ledger.releases(use_case)]
        for stage in get_args(Stage):
            yield RELEASES, (use_case, stage), float(stages.count(stage))
        refusals = self.ledger.rows(use_case, limit=MOST_REFUSALS, action="refused")
        for actor in STOPPERS:
            stopped = [row for row in refusals if row.actor == actor and row.reason.startswith(STOPPED)]
            yield CANARY_STOPS, (use_case, actor), float(len(stopped))


def _measured(use_case: str, measured: UseCaseMeasures | None, now_us: int, plan: TrafficPlan | None) -> Iterator[Sample]:
    arms = {(arm.arm, arm.release_id): arm for arm in measured.arms} if measured else {}
    serving = [(CONTROL, plan.champion.release_id), *((arm.name, arm.release_id) for arm in plan.arms)] if plan else [(CONTROL, "")]
    for arm, release_id in dict.fromkeys([*arms, *serving]):
        found = arms.get((arm, release_id))
        yield MATURED, (use_case, arm, release_id), float(found.decisions if found else 0)
        yield from _interval(REWARD, (use_case, arm, release_id), found.reward if found else None)
        yield from _interval(GAIN, (use_case, arm, release_id), found.gain if found else None)
    forecasts = {forecast.release_id: forecast.value for forecast in measured.forecasts} if measured else {}
    for release_id in dict.fromkeys([*forecasts, *(release for _, release in serving)]):
        yield from _interval(FORECAST, (use_case, release_id), forecasts.get(release_id))
    yield from _experiments(use_case, measured)
    yield SKEW_ROWS, (use_case, "checked"), float(measured.skew.checked if measured else 0)
    yield SKEW_ROWS, (use_case, "differing"), float(measured.skew.differing if measured else 0)
    for table in ("events", "decisions", "outcomes", "quarantine"):
        found_table = measured.tables.get(table) if measured else None
        yield TABLE_ROWS, (use_case, table), float(found_table.rows if found_table else 0)
        newest_us = found_table.newest_us if found_table else None
        yield TABLE_AGE_SECONDS, (use_case, table), nan if newest_us is None else (now_us - newest_us) / SECOND_US


def _experiments(use_case: str, measured: UseCaseMeasures | None) -> Iterator[Sample]:
    """What is concluded of each arm; where nothing is compared, one without figures, so that every series is there."""
    found = measured.experiments if measured else ()
    for arm in found or (ExperimentMeasure(CHALLENGER, "", None, "", "", nan, None, {}),):
        yield from _interval(EXPERIMENT_GAIN, (use_case, arm.arm, arm.release_id), arm.gain)
        for verdict in VERDICTS:
            yield EXPERIMENT_VERDICT, (use_case, arm.arm, verdict), float(arm.verdict == verdict)
        yield EXPERIMENT_PROGRESS, (use_case, arm.arm), nan if arm.progress is None else arm.progress
        yield SAMPLE_RATIO, (use_case, arm.arm), arm.sample_ratio
        for metric, state in (arm.guard_rails or {"decisions": "open"}).items():
            yield GUARD_RAIL, (use_case, arm.arm, metric), {"held": 1.0, "open": 0.0, "breached": -1.0}[state]
    control = measured.control_ratio if measured else None
    yield SAMPLE_RATIO, (use_case, CONTROL), nan if control is None else control
    shadow = measured.shadow if measured else None
    yield from _interval(SHADOW_GAIN, (use_case, shadow.release_id if shadow else ""), shadow.gain if shadow else None)


def _rollout(use_case: str, found: RolloutMeasure | None, now_us: int) -> Iterator[Sample]:
    """How far a roll-out is, as the guard last saw it; without a canary one without figures, so that every series is there."""
    canary = found.canary if found else None
    release_id = canary.release_id if canary else ""
    yield SIGN_OFF_WAITING, (use_case,), float(len(found.waiting) if found else 0)
    yield CANARY_STEP, (use_case,), float(canary.step if canary else 0)
    came = _came(canary, now_us) if canary else (nan, nan)
    for what, share in zip(STEP_NEEDS, came, strict=True):
        yield CANARY_PROGRESS, (use_case, release_id, what), share
    limits = {limit.name: limit for limit in canary.limits} if canary else {}
    for name in LIMITS:
        share = limits[name].surely / limits[name].most if name in limits and limits[name].most else nan
        yield CANARY_LIMIT, (use_case, release_id, name), share


def _came(canary: CanaryMeasure, now_us: int) -> tuple[float, float]:
    lasts_us = canary.until_us - canary.began_us
    passed = min((now_us - canary.began_us) / lasts_us, 1.0) if lasts_us > 0 else 1.0
    return passed, min(canary.decisions / canary.needed, 1.0) if canary.needed else 1.0


def _states(use_case: str, found: StateMeasure | None) -> Iterator[Sample]:
    yield STATES, (use_case,), float(found.entities if found else 0)
    for size in SIZES:
        yield STATE_BYTES, (use_case, size), float(getattr(found, size)) if found else 0.0


def _interval(metric: Metric, labels: tuple[str, ...], interval: Interval | None) -> Iterator[Sample]:
    ends = (interval.value, interval.low, interval.high) if interval else (None, None, None)
    for bound, end in zip(BOUNDS, ends, strict=True):
        yield metric, (*labels, bound), nan if end is None else end


def registry(collector: Collector) -> CollectorRegistry:
    """A registry of this collector alone: nothing of the process itself, nothing global."""
    made = CollectorRegistry(auto_describe=False)
    made.register(collector)
    return made


def build() -> Starlette:
    """The application: `/metrics`, and `/healthz` for who asks whether it lives. Settings come from `offerloop.toml` and the environment.

    Raises:
        StateRefused: the state is another installation's.
    """
    file = Path("offerloop.toml")
    settings = Settings.build(file.read_text() if file.exists() else "", os.environ)
    layout = Layout(settings.folder)
    clock = open_installation(layout, settings.clock).clock
    ledger, inbox = Ledger(layout.ledger), Inbox(layout.ledger)
    collector = InstallationCollector(layout, settings.use_cases, clock, ledger, inbox, lambda: services_up(layout))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        inbox.close()
        ledger.close()

    shown = registry(collector)

    async def metrics(request: Request) -> Response:
        encode, kind = choose_encoder(request.headers.get("accept", ""))
        return Response(await run_in_threadpool(encode, shown), headers={"content-type": kind})

    async def health(_: Request) -> PlainTextResponse:
        return PlainTextResponse("alive\n")

    return Starlette(routes=[Route("/healthz", health), Route("/metrics", metrics)], lifespan=lifespan)
