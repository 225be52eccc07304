"""How the values of features are distributed, what is missing or stale, and how that drifts, from rows that were logged or computed."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from contracts.clock import DAY_US, to_datetime
from features.definitions import UNKNOWN_CATEGORY, FeatureSet

Period: TypeAlias = Literal["day", "week"]
Floats: TypeAlias = NDArray[np.float64]

BINS = 10
"""Classes of a number at most. Drift is told by classes of about equal size in the first period."""

_LEAST_SHARE = 1e-4
_MONDAY_US = 4 * DAY_US
_LENGTH: dict[Period, int] = {"day": DAY_US, "week": 7 * DAY_US}


class Class(msgspec.Struct, frozen=True):
    """So many of the values that are there lie in a class: a category, a single number, or from one number on."""

    name: str
    rows: int


class Moment(msgspec.Struct, frozen=True):
    """A feature in one period.

    Attributes:
        start_us: of the period.
        mean: of the values that are there; none where there is none.
        drift: population stability index against the first period, with the missing as a class of their own: below 0.1 as good as the
            same, above 0.25 another distribution. It is Σ (p − q) · ln(p / q) over the classes, no share below 0.0001.
    """

    start_us: int
    rows: int
    missing: float
    stale: float
    mean: float | None
    drift: float


class FeatureProfile(msgspec.Struct, frozen=True):
    """A feature over all rows; missing values do not count into its distribution, stale ones do as they were used."""

    name: str
    rows: int
    missing: float
    stale: float
    distinct: int
    mean: float | None
    deviation: float | None
    quantiles: tuple[float, ...]
    classes: tuple[Class, ...]
    periods: tuple[Moment, ...] = ()

    @property
    def drift(self) -> float:
        """Of the last period; 0 where there is only one."""
        return self.periods[-1].drift if self.periods else 0.0


QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
"""Which quantiles a profile has: from the least value by the median to the greatest."""


def logged_rows(decisions: pl.DataFrame, feature_set: FeatureSet) -> pl.DataFrame:
    """What decisions of this feature set logged: `moment`, a Float64 column a feature, `missing`, `stale`."""
    own = decisions.filter((pl.col("feature_set") == feature_set.digest) & (pl.col("features").list.len() == len(feature_set.names)))
    values = [pl.col("features").list.get(place).alias(name) for place, name in enumerate(feature_set.names)]
    stale = pl.col("degraded").list.eval(pl.element().filter(pl.element().str.starts_with("stale:")).str.strip_prefix("stale:"))
    return own.select(pl.col("decided_at").alias("moment"), *values, "missing", stale.alias("stale"))


def profile(rows: pl.DataFrame, feature_set: FeatureSet, by: Period | None = "day") -> tuple[FeatureProfile, ...]:
    """The profile of each feature.

    Args:
        rows: as `logged_rows` gives them; without `moment` there are no periods, without `stale` nothing is stale.
        feature_set: whose columns they are.
        by: the length of a period, days and weeks from Monday in UTC; none for no periods.
    """
    if rows.is_empty():
        return ()
    starts = _starts(rows, by)
    return tuple(_feature(name, rows, starts, feature_set.categories[name]) for name in feature_set.names)


def drift(reference: Sequence[float], other: Sequence[float]) -> float:
    """The population stability index of two lists of counts over the same classes.

    Example:
        >>> drift([50, 50], [500, 500]), round(drift([50, 50], [90, 10]), 3)
        (0.0, 0.879)
    """
    p, q = (np.maximum(np.asarray(counts, dtype=np.float64) / max(sum(counts), 1.0), _LEAST_SHARE) for counts in (other, reference))
    return float(np.sum((p - q) * np.log(p / q)))


def period_name(start_us: int) -> str:
    """The day on which a period starts."""
    return f"{to_datetime(start_us):%Y-%m-%d}"


def _starts(rows: pl.DataFrame, by: Period | None) -> NDArray[np.int64] | None:
    if by is None or "moment" not in rows.columns:
        return None
    moments = rows["moment"].to_numpy()
    # why: 1970 began on a Thursday
    shift = _MONDAY_US if by == "week" else 0
    return (moments - shift) // _LENGTH[by] * _LENGTH[by] + shift


def _feature(name: str, rows: pl.DataFrame, starts: NDArray[np.int64] | None, categories: tuple[str, ...]) -> FeatureProfile:
    values = rows[name].to_numpy().astype(np.float64)
    missing = rows["missing"].list.contains(name).to_numpy() | np.isnan(values)
    stale = rows["stale"].list.contains(name).to_numpy() if "stale" in rows.columns else np.zeros(len(values), dtype=np.bool_)
    there = values[~missing]
    first = values[~missing & (starts == starts.min())] if starts is not None else there
    edges = _edges(first if len(first) else there, categories)
    return FeatureProfile(
        name=name,
        rows=len(values),
        missing=float(missing.mean()),
        stale=float(stale.mean()),
        distinct=len(np.unique(there)),
        mean=float(there.mean()) if len(there) else None,
        deviation=float(there.std()) if len(there) else None,
        quantiles=tuple(np.quantile(there, QUANTILES, method="nearest").tolist()) if len(there) else (),
        classes=_classes(there, categories),
        periods=() if starts is None else _periods(values, missing, stale, starts, edges),
    )


def _periods(
    values: Floats, missing: NDArray[np.bool_], stale: NDArray[np.bool_], starts: NDArray[np.int64], edges: Floats
) -> tuple[Moment, ...]:
    found, reference = [], list[float]()
    for start in np.unique(starts):
        mine = starts == start
        there = values[mine & ~missing]
        counts = [*_counts(there, edges), float((mine & missing).sum())]
        reference = reference or counts
        found.append(
            Moment(
                start_us=int(start),
                rows=int(mine.sum()),
                missing=float(missing[mine].mean()),
                stale=float(stale[mine].mean()),
                mean=float(there.mean()) if len(there) else None,
                drift=drift(reference, counts),
            )
        )
    return tuple(found)


def _edges(values: Floats, categories: tuple[str, ...]) -> Floats:
    """Where classes begin, but for the first: codes of categories, single numbers where there are few, else quantiles."""
    if categories:
        return np.arange(len(categories), dtype=np.float64)
    single = np.unique(values)
    return single[1:] if len(single) <= BINS else np.unique(np.quantile(values, np.arange(1, BINS) / BINS, method="nearest"))


def _counts(values: Floats, edges: Floats) -> list[float]:
    places = np.searchsorted(edges, values, side="right")
    return [float(count) for count in np.bincount(places, minlength=len(edges) + 1)]


def _classes(values: Floats, categories: tuple[str, ...]) -> tuple[Class, ...]:
    """Categories, single numbers where there are few, else classes of equal width up to the 95 % quantile, and one from there on."""
    if not len(values):
        return ()
    single = np.unique(values)
    if categories:
        edges = np.arange(len(categories), dtype=np.float64)
        names = [f"unknown ({UNKNOWN_CATEGORY:g})", *categories]
    elif len(single) <= BINS:
        edges, names = single[1:], [f"{value:.6g}" for value in single]
    else:
        edges = np.unique(np.linspace(single[0], np.quantile(values, 0.95, method="nearest"), BINS)[1:])
        names = [f"≥ {begin:.6g}" for begin in (single[0], *edges)]
    return tuple(Class(name, int(count)) for name, count in zip(names, _counts(values, edges), strict=True))
