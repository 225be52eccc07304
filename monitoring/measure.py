"""Measuring an installation from its tables and its ledger: what each arm earned, what was foreseen, skew, freshness."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from contracts.errors import BundleRefused
from contracts.tables import DAY_COLUMN, DECISIONS, EVENTS, OUTCOMES, QUARANTINE
from contracts.traffic import CONTROL
from decisions.gain import gain, mean_bounds
from decisions.sequential import Bounds
from decisions.totals import entities_of
from features.point_in_time import compute
from features.skew import compare, decision_spine, logged_features
from releases.bundle import read_bundle
from releases.ledger import Ledger
from storage.layout import Layout
from storage.measures import ArmMeasure, Forecast, Interval, Measures, SkewMeasure, TableMeasure, UseCaseMeasures
from storage.tables import Tables
from use_cases.definition import UseCase

SKEW_SAMPLE = 2_000
"""Newest decisions whose features are recomputed."""

_VALUE_COLUMNS = ("decision_id", "entity_id", "decided_at", "release_id", "arm", "source")
_SKEW_COLUMNS = ("decision_id", "entity_id", "decided_at", "feature_set", "features", "seen_seq", "context", "source")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a use case's measurements come from."""

    use_case: UseCase
    layout: Layout
    tables: Tables
    ledger: Ledger
    now_us: int
    memory: str


def measure(layout: Layout, use_cases: Mapping[str, UseCase], ledger: Ledger, now_us: int, memory: str = "2GB") -> Measures:
    """Measure everything that was drained into the tables so far.

    Args:
        now_us: the installation's logical time, at which outcome windows must have closed.
        memory: what DuckDB may use.
    """
    tables = Tables(layout.tables)
    measured = {name: _measure(_Place(use_case, layout, tables, ledger, now_us, memory)) for name, use_case in use_cases.items()}
    return Measures(now_us, time.time(), measured)


def _measure(place: _Place) -> UseCaseMeasures:
    served = _read(place, DECISIONS, _VALUE_COLUMNS).filter(pl.col("source") == "served")
    outcomes = place.tables.frame(place.use_case.schema, OUTCOMES)
    rewards = place.use_case.rewards(served, outcomes, now_us=place.now_us)
    return UseCaseMeasures(
        unit=place.use_case.reward_unit,
        arms=measure_arms(rewards, place.use_case.reward_scale),
        forecasts=_forecasts(place),
        skew=_skew(place),
        tables={table: _table(place, table) for table in (EVENTS, DECISIONS, OUTCOMES, QUARANTINE)},
        unmatured=served.height - rewards.height,
    )


def measure_arms(rewards: pl.DataFrame, scale: int) -> tuple[ArmMeasure, ...]:
    """What every arm earned with every release it had, and how much more than control did in the same time; bounds hold at any look.

    Args:
        rewards: matured decisions with `arm`, `release_id`, `entity_id`, `decided_at` and `reward`.
        scale: rewards that make one of what people read.
    """
    control = rewards.filter(pl.col("arm") == CONTROL)
    measures = []
    for (arm, release_id), own in sorted(rewards.partition_by("arm", "release_id", as_dict=True).items()):
        earned = entities_of(own, scale)
        beside = control.filter(pl.col("decided_at").is_between(own["decided_at"].min(), own["decided_at"].max()))
        above = gain(earned, entities_of(beside, scale)) if arm != CONTROL and beside.height else None
        measures.append(
            ArmMeasure(
                arm=arm,
                release_id=release_id,
                decisions=own.height,
                entities=len(earned),
                reward=_interval(earned.mean, mean_bounds(earned)),
                gain=_interval(above.plain.value, above.bounds(0.95)) if above else None,
            )
        )
    return tuple(measures)


def _forecasts(place: _Place) -> tuple[Forecast, ...]:
    forecasts = []
    for release in place.ledger.releases(place.use_case.name):
        try:
            gate = read_bundle(place.layout.bundles, release.release_id).parts.gate
        except BundleRefused:
            # why: a bundle that cannot be read is the replicas' alarm; it must not stop the measuring of the others
            continue
        if forecast := _forecast(gate):
            forecasts.append(Forecast(release.release_id, forecast))
    return tuple(forecasts)


def _forecast(gate: Mapping[str, Any]) -> Interval | None:
    """What a gate foresaw; nothing of a release that was never judged."""
    foreseen = gate.get("forecast")
    return msgspec.convert(foreseen, Interval) if foreseen else None


def _skew(place: _Place) -> SkewMeasure:
    feature_set, schema = place.use_case.feature_set, place.use_case.schema
    newest = _read(place, DECISIONS, _SKEW_COLUMNS).filter(pl.col("feature_set") == feature_set.digest, pl.col("source") == "served")
    newest = newest.top_k(SKEW_SAMPLE, by="decided_at")
    if newest.is_empty():
        return SkewMeasure(0, 0, {})
    with tempfile.TemporaryDirectory() as folder:
        spine, out = Path(folder) / "spine.parquet", Path(folder) / "features.parquet"
        decision_spine(newest).write_parquet(spine)
        compute(place.tables.files(place.use_case.name, EVENTS), spine, feature_set, schema, out, place.memory)
        report = compare(logged_features(newest, feature_set), pl.read_parquet(out), feature_set)
    return SkewMeasure(report.rows, report.differing_rows, {name: count for name, count in report.features.items() if count})


def _table(place: _Place, table: str) -> TableMeasure:
    parts = [part for part in place.tables.manifest().parts if (part.use_case, part.table) == (place.use_case.name, table)]
    if not parts:
        return TableMeasure(0, None)
    last = max(part.day for part in parts)
    files = [place.layout.tables / part.name for part in parts if part.day == last]
    newest = pl.scan_parquet(files).select(pl.col(DAY_COLUMN[table]).max()).collect().item()
    return TableMeasure(sum(part.rows for part in parts), newest)


def _read(place: _Place, table: str, columns: Sequence[str]) -> pl.DataFrame:
    files = place.tables.files(place.use_case.name, table)
    if not files:
        return place.tables.frame(place.use_case.schema, table).select(columns)
    return pl.read_parquet(files, columns=list(columns), hive_partitioning=False)


def _interval(value: float, bounds: Bounds) -> Interval:
    return Interval(value, *(end if abs(end) < float("inf") else None for end in (bounds.low, bounds.high)))
