"""Distributions and drift of features."""

import doctest
import math

import numpy as np
import polars as pl
import pytest

from contracts.clock import DAY_US
from features import profile as module
from features.definitions import Attribute, FeatureSet, Request
from features.profile import Class, drift, logged_rows, period_name, profile

FEATURES = FeatureSet(
    "shop",
    (
        Request(name="hour", field="hour", default=math.nan),
        Attribute(name="country", source="profile", field="country", categories=("de", "us"), default=-1.0),
    ),
)
MONDAY = 20_003 * DAY_US


def rows(moments: list[int], hours: list[float], countries: list[float], missing: list[list[str]] | None = None) -> pl.DataFrame:
    nothing: list[list[str]] = [[] for _ in moments]
    return pl.DataFrame(
        {"moment": moments, "hour": hours, "country": countries, "missing": missing or nothing, "stale": nothing},
        schema={"moment": pl.Int64, "hour": pl.Float64, "country": pl.Float64, "missing": pl.List(pl.String), "stale": pl.List(pl.String)},
    )


def decisions(**columns: object) -> pl.DataFrame:
    plain = {
        "decided_at": [1, 2],
        "feature_set": [FEATURES.digest] * 2,
        "features": [[7.0, 1.0], [8.0, -1.0]],
        "missing": [[], ["country"]],
        "degraded": [["stale:hour", "state:damaged"], []],
    }
    return pl.DataFrame(plain | columns, schema_overrides={"missing": pl.List(pl.String), "degraded": pl.List(pl.String)})


def test_what_decisions_logged_is_taken_apart() -> None:
    found = logged_rows(decisions(), FEATURES)
    assert found.rows() == [(1, 7.0, 1.0, [], ["hour"]), (2, 8.0, -1.0, ["country"], [])]
    assert logged_rows(decisions(feature_set=["other", FEATURES.digest]), FEATURES).height == 1
    hour, country = profile(found, FEATURES)
    assert (hour.stale, hour.missing, country.stale, country.missing) == (0.5, 0.0, 0.0, 0.5)


def test_a_distribution_is_of_the_values_that_are_there() -> None:
    hour, country = profile(rows([1] * 4, [1.0, 1.0, 3.0, math.nan], [0.0, 1.0, 1.0, -1.0], [[], [], [], ["country"]]), FEATURES)
    assert (hour.rows, hour.missing, hour.distinct, hour.mean, hour.quantiles) == (4, 0.25, 2, 5 / 3, (1.0, 1.0, 1.0, 3.0, 3.0))
    assert hour.deviation == pytest.approx(np.std([1, 1, 3]))
    assert hour.classes == (Class("1", 2), Class("3", 1))
    assert country.classes == (Class("unknown (-1)", 0), Class("de", 1), Class("us", 2))


def test_many_values_fall_into_classes_of_equal_width_but_for_the_last() -> None:
    values = np.append(np.arange(9_500) / 1_000, np.full(500, 1e6))
    (hour, _) = profile(rows([1] * 10_000, values.tolist(), [0.0] * 10_000), FEATURES)
    sizes = [one.rows for one in hour.classes]
    assert len(sizes) == 10 and sum(sizes) == 10_000
    assert max(sizes[:9]) - min(sizes[:9]) <= 1 and sizes[9] == 501
    assert (hour.classes[0].name, hour.classes[9].name) == ("≥ 0", "≥ 9.499")


def test_periods_are_days_or_weeks_from_monday() -> None:
    moments = [MONDAY - 1, MONDAY, MONDAY + DAY_US, MONDAY + 7 * DAY_US]
    asked = rows(moments, [1.0, 2.0, 3.0, 4.0], [0.0] * 4)
    days, weeks = (profile(asked, FEATURES, by)[0].periods for by in ("day", "week"))
    assert [period.start_us for period in days] == [MONDAY - DAY_US, MONDAY, MONDAY + DAY_US, MONDAY + 7 * DAY_US]
    assert [(period.start_us, period.rows) for period in weeks] == [(MONDAY - 7 * DAY_US, 1), (MONDAY, 2), (MONDAY + 7 * DAY_US, 1)]
    assert [period.mean for period in weeks] == [1.0, 2.5, 4.0]
    assert period_name(MONDAY) == "2024-10-07"
    assert profile(asked, FEATURES, None)[0].periods == ()


def test_the_same_again_does_not_drift_and_another_distribution_does() -> None:
    draw = np.random.default_rng(5)
    first, same, other = draw.normal(size=4_000), draw.normal(size=4_000), draw.normal(1.0, 1.0, size=4_000)
    moments = np.repeat([MONDAY, MONDAY + DAY_US, MONDAY + 2 * DAY_US], 4_000).tolist()
    asked = rows(moments, np.concatenate([first, same, other]).tolist(), [0.0] * 8_000 + [1.0] * 4_000)
    hour, country = profile(asked, FEATURES)
    assert hour.periods[0].drift == 0.0
    assert hour.periods[1].drift < 0.02 < 0.25 < hour.periods[2].drift == hour.drift
    assert country.periods[1].drift == 0.0 and country.drift > 5.0


def test_what_is_missing_more_and_more_drifts() -> None:
    missing: list[list[str]] = [[]] * 100 + [["country"]] * 100
    _, country = profile(rows([MONDAY] * 100 + [MONDAY + DAY_US] * 100, [1.0] * 200, [0.0] * 100 + [-1.0] * 100, missing), FEATURES)
    assert [period.missing for period in country.periods] == [0.0, 1.0]
    assert country.periods[1].mean is None and country.drift > 5.0


def test_rows_without_moments_or_stale_ones_and_no_rows_at_all() -> None:
    plain = rows([1, 2], [1.0, 2.0], [0.0, 1.0])
    assert profile(plain.drop("moment", "stale"), FEATURES)[0].periods == ()
    assert profile(plain.clear(), FEATURES) == ()
    (hour, _) = profile(rows([1], [math.nan], [0.0]), FEATURES)
    assert (hour.missing, hour.mean, hour.quantiles, hour.classes, hour.drift) == (1.0, None, (), (), 0.0)


def test_drift_is_the_population_stability_index() -> None:
    assert drift([50, 50], [90, 10]) == pytest.approx((0.9 - 0.5) * math.log(0.9 / 0.5) + (0.1 - 0.5) * math.log(0.1 / 0.5))
    assert drift([10, 0], [0, 10]) == pytest.approx(2 * (1 - 1e-4) * math.log(1e4))
    assert doctest.testmod(module).failed == 0
